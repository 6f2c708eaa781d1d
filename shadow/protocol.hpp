// The protocol: which event is legal for a byte in which state, and what becomes of it. One readable table of rows
// (protocol.cpp), expanded to one Transition for each event.
#pragma once
#include "shadow/map.hpp"
#include "shadow/rules.hpp"
#include "shadow/state.hpp"

#include <span>
#include <string_view>

namespace dmaudit {

enum class Event : uint8_t {
    buffer_alloc,
    buffer_free, // a client takes and gives up cached RAM
    map_to,
    map_from,
    map_from_keeps,
    map_bi, // `keeps`: the provider promises that unsynced CPU writes survive
    map_skip_to,
    map_skip_from,
    map_skip_bi, // no cache work (DMA_ATTR_SKIP_CPU_SYNC, or a provider whose map does none)
    sync_for_cpu,
    sync_for_device,
    unmap,
    unmap_skip,
    unmap_tail, // tail: bytes that the client says the device did not use
    cpu_read,
    cpu_write,
    window_read,
    window_write,
    device_read,
    device_write,
    flush,
    invalidate,
    flush_invalidate, // by a client, on its own bytes
    alloc_zeroed,
    alloc_plain,
    alloc_tail, // a coherent block is handed out, and its granted tail
    block_free,
    pool_declare,
    pool_release,
    alloc_opaque, // DMA_ATTR_NO_KERNEL_MAPPING
    alloc_noncoherent_to,
    alloc_noncoherent_from,
    alloc_noncoherent_bi, // cached, mapped in one direction, zeroed by the CPU
    noncoherent_free,
    dma_buf_export,
    dma_buf_put_pages, // the last reference to a client's pages, to a block
    dma_buf_put_block,
    dma_buf_map,       // an importer gets the bytes (from_device: provider promises to keep what the CPU wrote)
    dma_buf_map_loses, // from_device, without that promise
    dma_buf_unmap,     // an importer that may have written gives them back
    dma_buf_begin,     // the CPU is going to read
    dma_buf_end,       // the CPU has written
    dma_buf_confused,  // several devices, and one writes: nobody knows what the others and the CPU see
    count_
};
constexpr size_t event_count = static_cast<size_t>(Event::count_);

const Transition& transition(Event);
std::string_view event_name(Event);

// One row of the table: in any of these states (and with this initialised bit) the event either breaks a rule or leads
// to a state.
struct Row {
    enum Init : uint8_t { any, only_0, only_1 };
    enum InitThen : uint8_t { keep, to_0, to_1 };
    Event event;
    uint32_t states;
    Init init;
    RuleId rule;   // none: legal
    uint32_t next; // a State, or 0: unchanged
    InitThen then;
};
std::span<const Row> protocol_rows();

} // namespace dmaudit
