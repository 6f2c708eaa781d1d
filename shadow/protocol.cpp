#include "shadow/protocol.hpp"

#include <array>

namespace dmaudit {
namespace {

using enum Event;
using R = RuleId;

constexpr Row legal(Event e, uint32_t states, uint32_t next = 0, Row::InitThen then = Row::keep)
{
    return {e, states, Row::any, R::none, next, then};
}
constexpr Row breaks(Event e, uint32_t states, RuleId rule)
{
    return {e, states, Row::any, rule, 0, Row::keep};
}
constexpr Row unwritten(Event e, uint32_t states, RuleId rule)
{
    return {e, states, Row::only_0, rule, 0, Row::keep};
}
constexpr Row written(Event e, uint32_t states)
{
    return {e, states, Row::only_1, R::none, 0, Row::keep};
}

constexpr uint32_t D_writable = Dfrom | Dbi; // handed to a device that may write
constexpr uint32_t coherent = S | O;          // with and without a CPU mapping
constexpr uint32_t exported = X_any | OX;
constexpr uint32_t everything = (1u << state_count) - 1;
constexpr uint32_t mapped = Hto | Hwritable | Dto | D_writable | M_any;

// Rows of one event are disjoint and cover every declared state; a test proves it.
constexpr Row rows[] = {
    // ---- clients' buffers ----
    legal(buffer_alloc, N, C_c, Row::to_0),
    breaks(buffer_alloc, everything & ~N, R::overlap),
    legal(buffer_free, C_any, N, Row::to_0),
    breaks(buffer_free, mapped | exported, R::free_while_mapped),
    breaks(buffer_free, N | P, R::double_free),
    breaks(buffer_free, coherent | PAD, R::wrong_kind),

    // ---- map: the device gets the bytes ----
    legal(map_to, C_any, Dto),
    legal(map_to, Hto | Dto | M_any, M_c), // reading together is legal; the registry remembers who holds what
    breaks(map_to, Hwritable | D_writable, R::overlapping_mapping),
    breaks(map_to, coherent | exported, R::wrong_kind),
    breaks(map_to, PAD | N, R::out_of_bounds),
    breaks(map_to, P, R::use_after_free),

    legal(map_from, C_c | C_s, Dfrom_c),
    legal(map_from, C_d, Dfrom_c, Row::to_0), // an invalidating provider may drop what was not handed over
    breaks(map_from, mapped, R::overlapping_mapping),
    breaks(map_from, coherent | exported, R::wrong_kind),
    breaks(map_from, PAD | N, R::out_of_bounds),
    breaks(map_from, P, R::use_after_free),

    legal(map_from_keeps, C_any, Dfrom_c),
    breaks(map_from_keeps, mapped, R::overlapping_mapping),
    breaks(map_from_keeps, coherent | exported, R::wrong_kind),
    breaks(map_from_keeps, PAD | N, R::out_of_bounds),
    breaks(map_from_keeps, P, R::use_after_free),

    legal(map_bi, C_any, Dbi_c),
    breaks(map_bi, mapped, R::overlapping_mapping),
    breaks(map_bi, coherent | exported, R::wrong_kind),
    breaks(map_bi, PAD | N, R::out_of_bounds),
    breaks(map_bi, P, R::use_after_free),

    // ---- map without cache work: what the CPU dirtied stays with the CPU ----
    legal(map_skip_to, C_c | C_s, Dto),
    legal(map_skip_to, C_d, Hto_d),
    legal(map_skip_to, Hto_c | Dto | M_c, M_c),
    legal(map_skip_to, Hto_d | M_d, M_d),
    breaks(map_skip_to, Hwritable | D_writable, R::overlapping_mapping),
    breaks(map_skip_to, coherent | exported, R::wrong_kind),
    breaks(map_skip_to, PAD | N, R::out_of_bounds),
    breaks(map_skip_to, P, R::use_after_free),

    legal(map_skip_from, C_c, Dfrom_c),
    legal(map_skip_from, C_s, Dfrom_s),
    legal(map_skip_from, C_d, Hfrom_d),
    breaks(map_skip_from, mapped, R::overlapping_mapping),
    breaks(map_skip_from, coherent | exported, R::wrong_kind),
    breaks(map_skip_from, PAD | N, R::out_of_bounds),
    breaks(map_skip_from, P, R::use_after_free),

    legal(map_skip_bi, C_c, Dbi_c),
    legal(map_skip_bi, C_s, Dbi_s),
    legal(map_skip_bi, C_d, Hbi_d),
    breaks(map_skip_bi, mapped, R::overlapping_mapping),
    breaks(map_skip_bi, coherent | exported, R::wrong_kind),
    breaks(map_skip_bi, PAD | N, R::out_of_bounds),
    breaks(map_skip_bi, P, R::use_after_free),

    // ---- sync: hand bytes of a live mapping over ----
    legal(sync_for_cpu, Hto | Hwritable_c | M_any),
    breaks(sync_for_cpu, Hwritable_d, R::sync_discards_write),
    legal(sync_for_cpu, Dto, Hto_c),
    legal(sync_for_cpu, Dfrom, Hfrom_c),
    legal(sync_for_cpu, Dbi, Hbi_c),
    breaks(sync_for_cpu, C_any | N | P | coherent | exported | PAD, R::sync_outside),

    legal(sync_for_device, Hto, Dto),
    legal(sync_for_device, M_any, M_c),
    legal(sync_for_device, Hfrom_c, Dfrom_c),
    legal(sync_for_device, Hfrom_d, Dfrom_c, Row::to_0), // from_device is read-only for the CPU: the value is undefined
    legal(sync_for_device, Hbi_c | Hbi_d, Dbi_c),
    legal(sync_for_device, Dto | Dfrom | Dbi_c),
    breaks(sync_for_device, Dbi_s, R::sync_discards_write), // a bounce would overwrite what the device wrote
    breaks(sync_for_device, C_any | N | P | coherent | exported | PAD, R::sync_outside),

    // ---- unmap: the CPU gets the bytes back ----
    legal(unmap, Hto_c | Hwritable_c | Dto | D_writable, C_c),
    legal(unmap, Hto_d, C_d),
    breaks(unmap, Hwritable_d, R::sync_discards_write),
    legal(unmap, M_any), // the registry recomputes
    breaks(unmap, C_any | N | P | coherent | exported | PAD, R::use_after_unmap),

    legal(unmap_skip, Hto_c | Hwritable_c | Dto | Dfrom_c | Dbi_c, C_c),
    legal(unmap_skip, Hto_d | Hwritable_d, C_d),
    legal(unmap_skip, Dfrom_s | Dbi_s, C_s, Row::to_0),
    legal(unmap_skip, M_any),
    breaks(unmap_skip, C_any | N | P | coherent | exported | PAD, R::use_after_unmap),

    legal(unmap_tail, Hto_c | Hwritable_c | Dto | Dfrom_c | Dbi_c, C_c),
    legal(unmap_tail, Hto_d, C_d),
    legal(unmap_tail, Hwritable_d | Dfrom_s | Dbi_s, C_c, Row::to_0),
    legal(unmap_tail, M_any),
    breaks(unmap_tail, C_any | N | P | coherent | exported | PAD, R::use_after_unmap),

    // ---- CPU accesses ----
    unwritten(cpu_read, C_c, R::read_of_unwritten),
    written(cpu_read, C_c),
    legal(cpu_read, C_d | Hto | Hwritable | Dto | M_any),
    breaks(cpu_read, C_s, R::stale_cpu_read),
    breaks(cpu_read, D_writable, R::cpu_read_of_device_bytes),
    unwritten(cpu_read, S, R::read_of_unwritten),
    written(cpu_read, S),
    breaks(cpu_read, PAD | N, R::out_of_bounds),
    breaks(cpu_read, P, R::use_after_free),
    breaks(cpu_read, O | OX, R::opaque_dereference),
    legal(cpu_read, X_any), // inside a bracket: the registry checks

    legal(cpu_write, C_any, C_d, Row::to_1),
    legal(cpu_write, Hto | Dto, Hto_d, Row::to_1), // only the sync after the last write is asked for
    legal(cpu_write, Hfrom_c | Hfrom_d, Hfrom_d, Row::to_1),
    legal(cpu_write, Hbi_c | Hbi_d, Hbi_d, Row::to_1),
    legal(cpu_write, M_any, M_d, Row::to_1), // if every mapping has handed them over: the registry checks
    breaks(cpu_write, D_writable, R::cpu_write_of_device_bytes),
    legal(cpu_write, S, 0, Row::to_1),
    breaks(cpu_write, PAD | N, R::out_of_bounds),
    breaks(cpu_write, P, R::use_after_free),
    breaks(cpu_write, O | OX, R::opaque_dereference),
    legal(cpu_write, X_any, X_d, Row::to_1),

    // through a user-space window the whole page is legal
    unwritten(window_read, coherent, R::read_of_unwritten),
    written(window_read, coherent),
    legal(window_read, PAD | exported),
    breaks(window_read, P, R::use_after_free),
    breaks(window_read, everything & ~(coherent | exported | PAD | P), R::out_of_bounds),
    legal(window_write, coherent | PAD, 0, Row::to_1),
    legal(window_write, X_any, X_d, Row::to_1),
    legal(window_write, OX, OX_d, Row::to_1),
    breaks(window_write, P, R::use_after_free),
    breaks(window_write, everything & ~(coherent | exported | PAD | P), R::out_of_bounds),

    // ---- device accesses ----
    breaks(device_read, Hto_c | Hwritable_c, R::device_access_denied),
    breaks(device_read, Hto_d | Hwritable_d, R::dirty_device_read),
    breaks(device_read, Dfrom, R::device_wrong_direction),
    unwritten(device_read, Dto | M_any | Dbi | coherent, R::uninitialised_to_device),
    written(device_read, Dto | M_any | Dbi | coherent),
    legal(device_read, X_c | X_s | OX_c | OX_s), // what several devices write is not decided here
    breaks(device_read, X_d | OX_d, R::dirty_device_read),
    breaks(device_read, C_any | N | P | PAD, R::device_access_denied),

    breaks(device_write, Hto | Dto | M_any, R::device_wrong_direction),
    breaks(device_write, Hwritable, R::device_access_denied),
    legal(device_write, Dfrom, Dfrom_s, Row::to_1),
    legal(device_write, Dbi, Dbi_s, Row::to_1),
    legal(device_write, coherent, 0, Row::to_1),
    legal(device_write, X_c | X_s, X_s, Row::to_1),
    legal(device_write, OX_c | OX_s, OX_s, Row::to_1),
    breaks(device_write, X_d | OX_d, R::dirty_line_over_device_data),
    breaks(device_write, C_any | N | P | PAD, R::device_access_denied),

    // ---- cache maintenance by a client ----
    legal(flush, C_any | mapped | S),
    breaks(flush, N | P | PAD, R::out_of_bounds),
    breaks(flush, O | OX, R::opaque_dereference),
    breaks(flush, X_any, R::cpu_access_bracket),
    legal(flush_invalidate, C_c | C_d | mapped | S),
    legal(flush_invalidate, C_s, C_c),
    breaks(flush_invalidate, N | P | PAD, R::out_of_bounds),
    breaks(flush_invalidate, O | OX, R::opaque_dereference),
    breaks(flush_invalidate, X_any, R::cpu_access_bracket),
    legal(invalidate, C_c | C_s, C_c),
    legal(invalidate, C_d, C_c, Row::to_0),
    legal(invalidate, Hto_c | Hwritable_c | Dto | D_writable | M_c | S),
    legal(invalidate, Hto_d, Hto_c, Row::to_0),
    legal(invalidate, Hfrom_d, Hfrom_c, Row::to_0),
    legal(invalidate, Hbi_d, Hbi_c, Row::to_0),
    legal(invalidate, M_d, M_c, Row::to_0),
    breaks(invalidate, N | P | PAD, R::out_of_bounds),
    breaks(invalidate, O | OX, R::opaque_dereference),
    breaks(invalidate, X_any, R::cpu_access_bracket),

    // ---- what the provider hands out and takes back: judged after the call ----
    legal(alloc_zeroed, P, S, Row::to_1),
    breaks(alloc_zeroed, N, R::outside_arena),
    breaks(alloc_zeroed, everything & ~(P | N), R::overlap),
    legal(alloc_plain, P, S, Row::to_0),
    breaks(alloc_plain, N, R::outside_arena),
    breaks(alloc_plain, everything & ~(P | N), R::overlap),
    legal(alloc_tail, P, PAD, Row::to_0),
    breaks(alloc_tail, N, R::outside_arena),
    breaks(alloc_tail, everything & ~(P | N), R::overlap),
    legal(alloc_opaque, P, O, Row::to_0),
    breaks(alloc_opaque, N, R::outside_arena),
    breaks(alloc_opaque, everything & ~(P | N), R::overlap),
    legal(alloc_noncoherent_to, P, Hto_d, Row::to_1),
    breaks(alloc_noncoherent_to, N, R::outside_arena),
    breaks(alloc_noncoherent_to, everything & ~(P | N), R::overlap),
    legal(alloc_noncoherent_from, P, Hfrom_d, Row::to_1),
    breaks(alloc_noncoherent_from, N, R::outside_arena),
    breaks(alloc_noncoherent_from, everything & ~(P | N), R::overlap),
    legal(alloc_noncoherent_bi, P, Hbi_d, Row::to_1),
    breaks(alloc_noncoherent_bi, N, R::outside_arena),
    breaks(alloc_noncoherent_bi, everything & ~(P | N), R::overlap),
    legal(block_free, coherent | PAD, P, Row::to_0),
    breaks(block_free, P | N, R::double_free),
    breaks(block_free, C_any | mapped, R::wrong_kind),
    breaks(block_free, exported, R::free_while_mapped),

    legal(noncoherent_free, Hto | Hwritable | Dto | D_writable | PAD, P, Row::to_0),
    breaks(noncoherent_free, P | N, R::double_free),
    breaks(noncoherent_free, M_any, R::free_while_mapped),
    breaks(noncoherent_free, C_any | coherent | exported, R::wrong_kind),

    legal(pool_declare, N, P, Row::to_0),
    breaks(pool_declare, everything & ~N, R::out_of_bounds),
    legal(pool_release, P, N, Row::to_0),
    breaks(pool_release, coherent | exported | PAD, R::leak),
    breaks(pool_release, everything & ~(P | coherent | exported | PAD), R::double_free),

    // ---- dma-buf ----
    legal(dma_buf_export, S | C_c, X_c),
    legal(dma_buf_export, C_d, X_d),
    legal(dma_buf_export, C_s, X_s),
    legal(dma_buf_export, O, OX_c),
    breaks(dma_buf_export, mapped, R::overlapping_mapping),
    breaks(dma_buf_export, exported, R::wrong_kind),
    breaks(dma_buf_export, PAD | N, R::out_of_bounds),
    breaks(dma_buf_export, P, R::use_after_free),
    legal(dma_buf_put_pages, X_c, C_c),
    legal(dma_buf_put_pages, X_d, C_d),
    legal(dma_buf_put_pages, X_s, C_s, Row::to_0),
    breaks(dma_buf_put_pages, everything & ~X_any, R::wrong_kind),
    legal(dma_buf_put_block, X_any, S),
    legal(dma_buf_put_block, OX, O),
    breaks(dma_buf_put_block, everything & ~exported, R::wrong_kind),
    legal(dma_buf_map, X_c | X_d, X_c),
    legal(dma_buf_map, OX_c | OX_d, OX_c),
    legal(dma_buf_map, X_s | OX_s),
    breaks(dma_buf_map, everything & ~exported, R::wrong_kind),
    legal(dma_buf_map_loses, X_c),
    legal(dma_buf_map_loses, X_d, X_c, Row::to_0),
    legal(dma_buf_map_loses, OX_c),
    legal(dma_buf_map_loses, OX_d, OX_c, Row::to_0),
    legal(dma_buf_map_loses, X_s | OX_s),
    breaks(dma_buf_map_loses, everything & ~exported, R::wrong_kind),
    legal(dma_buf_unmap, X_c | X_s, X_c),
    legal(dma_buf_unmap, X_d, X_c, Row::to_0), // copied over, or dropped
    legal(dma_buf_unmap, OX_c | OX_s, OX_c),
    legal(dma_buf_unmap, OX_d, OX_c, Row::to_0),
    breaks(dma_buf_unmap, everything & ~exported, R::wrong_kind),
    legal(dma_buf_begin, X_c | X_s, X_c),
    legal(dma_buf_begin, X_d, X_c, Row::to_0),
    legal(dma_buf_begin, OX_c | OX_s, OX_c),
    legal(dma_buf_begin, OX_d, OX_c, Row::to_0),
    breaks(dma_buf_begin, everything & ~exported, R::wrong_kind),
    legal(dma_buf_end, X_c | X_d, X_c),
    legal(dma_buf_end, OX_c | OX_d, OX_c),
    legal(dma_buf_end, X_s | OX_s),
    breaks(dma_buf_end, everything & ~exported, R::wrong_kind),
    legal(dma_buf_confused, X_c | X_d, X_c, Row::to_0),
    legal(dma_buf_confused, OX_c | OX_d, OX_c, Row::to_0),
    legal(dma_buf_confused, X_s | OX_s, 0, Row::to_0),
    breaks(dma_buf_confused, everything & ~exported, R::wrong_kind),
};

constexpr std::array<Transition, event_count> expand()
{
    std::array<Transition, event_count> table{};
    for (auto& t : table)
        for (unsigned code = 0; code < 256; code++) {
            t.next[code] = static_cast<uint8_t>(code);
            t.rule[code] =
                static_cast<uint8_t>(R::auditor_exhausted); // undeclared: a defect of the auditor, never silent
        }
    for (const Row& row : rows) {
        Transition& t = table[static_cast<size_t>(row.event)];
        for (unsigned i = 0; i < state_count; i++) {
            const auto state = static_cast<State>(1u << i);
            if (!(row.states & state))
                continue;
            for (unsigned init = 0; init < 2; init++) {
                if ((row.init == Row::only_0 && init) || (row.init == Row::only_1 && !init))
                    continue;
                const auto code = static_cast<uint8_t>(code_of(state) | (init ? initialised : 0));
                const uint8_t next = row.next ? code_of(static_cast<State>(row.next)) : code_of(state);
                const bool then = row.then == Row::to_1 || (row.then == Row::keep && init);
                t.rule[code] = static_cast<uint8_t>(row.rule);
                t.next[code] = row.rule == R::none ? static_cast<uint8_t>(next | (then ? initialised : 0)) : code;
            }
        }
    }
    return table;
}
constexpr auto table = expand();

constexpr std::array<std::string_view, event_count> names{
    "buffer_alloc", "buffer_free",   "map_to",      "map_from",     "map_from_keeps",   "map_bi",
    "map_skip_to",  "map_skip_from", "map_skip_bi", "sync_for_cpu", "sync_for_device",  "unmap",
    "unmap_skip",   "unmap_tail",    "cpu_read",    "cpu_write",    "window_read",      "window_write",
    "device_read",  "device_write",  "flush",       "invalidate",   "flush_invalidate", "alloc_zeroed",
    "alloc_plain",  "alloc_tail",    "block_free",  "pool_declare", "pool_release",
    "alloc_opaque", "alloc_noncoherent_to", "alloc_noncoherent_from", "alloc_noncoherent_bi", "noncoherent_free",
    "dma_buf_export", "dma_buf_put_pages", "dma_buf_put_block", "dma_buf_map", "dma_buf_map_loses", "dma_buf_unmap",
    "dma_buf_begin", "dma_buf_end", "dma_buf_confused"};

} // namespace

const Transition& transition(Event e)
{
    return table[static_cast<size_t>(e)];
}
std::string_view event_name(Event e)
{
    return names[static_cast<size_t>(e)];
}
std::span<const Row> protocol_rows()
{
    return rows;
}

} // namespace dmaudit
