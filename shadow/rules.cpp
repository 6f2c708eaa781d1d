#include "shadow/rules.hpp"

#include <algorithm>

namespace dmaudit {
namespace {

using R = RuleId;
constexpr Fault provider = Fault::provider, client = Fault::client, tool = Fault::tool;

// The order is that of RuleId.
constexpr std::array<Rule, rule_count> table{{
    {R::none, "none", tool, 0, "no rule is broken", "Nothing to do."},

    // ---- the provider's fault ----
    {R::overlap, "overlap", provider, 119, "a block was handed out over bytes that somebody still owns",
     "Look at the free list or bitmap: a range freed with a wrong size, or two free runs that were merged too far."},
    {R::outside_arena, "outside-arena", provider, 119,
     "a block, window or translation lies outside the memory that the provider was given",
     "Look for arithmetic past the end of an arena, and for page numbers that were computed in 32 bits."},
    {R::misaligned, "misaligned", provider, 131,
     "an address breaks an alignment: asked for, promised, or needed so that lines written by a device are not shared",
     "Align the device address, not the offset in the arena; a bounce slot keeps the original's offset in its cache "
     "line."},
    {R::beyond_limit, "beyond-limit", provider, 787,
     "the last byte of a block or mapping is beyond what the device can drive or the caller allowed (inclusive)",
     "Compare address + size - 1 with the limit, for the bounce slot too, and without wrapping."},
    {R::crosses_boundary, "crosses-boundary", provider, 131,
     "a device range crosses a multiple of the boundary that was asked for, or a segment is longer than the device "
     "takes",
     "(first ^ last) must lie below the boundary, in device addresses; a bounce slot must obey it as well."},
    {R::wrong_translation, "wrong-translation", provider, 682,
     "the device address does not lead to memory that stands for the caller's bytes",
     "Look at the bus offset, the offset inside a page, an address of another mapping, a bounce buffer that is "
     "missing."},
    {R::short_block, "short-block", provider, 131, "fewer bytes were granted than were asked for",
     "Sizes round up: look for a shift or a division by the page size that rounds down."},
    {R::not_zeroed, "not-zeroed", provider, 908, "a block that must read zero does not, for the CPU or for the device",
     "Zero after the page has become uncached, or clean the lines before; zero all of the size that was asked for."},
    {R::leaks_old_data, "leaks-old-data", provider, 226, "bytes of an earlier owner became visible",
     "Zero whole pages of what can be mapped to user space, and never copy out bounce bytes that were not copied in."},
    {R::corrupts_neighbour, "corrupts-neighbour", provider, 787,
     "a call changed or dropped client bytes that were not its to change, most often beside its range",
     "Look for copies that are too long, and for an invalidate of dirty bytes: a neighbour's in an edge line, or ones "
     "to clean first."},
    {R::lost_capacity, "lost-capacity", provider, 401, "memory that was given back cannot be had again",
     "A release must free what the allocation took; look at error paths, at what close leaves, at masks that were "
     "refused."},
    {R::spurious_failure, "spurious-failure", provider, 394,
     "a call failed that by the provider's promises must succeed",
     "Look for a search that starts late or ends early, and for a limit or boundary test that is off by one."},
    {R::failure_has_effect, "failure-has-effect", provider, 460, "a call that failed has changed something",
     "Undo in reverse order on every error path, and test before the first change."},
    {R::wrong_return, "wrong-return", provider, 393,
     "a result code or routing flag is not the one that the contract names",
     "A legal call is never refused as a mistake, size 0 always is; a full pool answers 1; a name leads nowhere after "
     "its last reference."},
    {R::missing_clean, "missing-clean", provider, 1250,
     "CPU data was handed to a device, or its pages made uncached, while it was only in the cache",
     "Clean what the device reads: the bounce slot, not the original; and every line before its page becomes "
     "uncached."},
    {R::missing_invalidate, "missing-invalidate", provider, 1250,
     "dirty lines lie under bytes that a device may write, or the CPU got them back without the device's data",
     "Clean or drop the lines before the device writes and invalidate after; after a to_device mapping do not."},
    {R::stale_bounce, "stale-bounce", provider, 1250,
     "a bounce slot and the original do not hold the same after a hand-over",
     "Copy in at every map, then clean the slot; a sync copies in unless from_device, out unless to_device, and an "
     "unmap copies all out like it."},
    {R::dirty_eviction, "dirty-eviction", provider, 1250,
     "a line that the provider dirtied was written back over a device's data, or dropped",
     "Headers and free lists need lines of their own; look for metadata beside or inside memory that a device writes."},
    {R::mmap_window, "mmap-window", provider, 668,
     "a window (mmap, kmap, vmap) shows other bytes than those of its block",
     "A window is bounded by the block rounded up to pages, not by the pool or by the size the caller claims."},
    {R::not_coherent, "not-coherent", provider, 1250,
     "a coherent block for a device that does not snoop lies in cached pages",
     "Make the pages uncached, look at the result of that call, and refuse the allocation if it failed."},
    {R::no_progress, "no-progress", provider, 667,
     "a call does not end, or a lock was taken twice, given back twice or never: a real machine would hang",
     "Look for a search without an end, an error path that keeps the lock, a helper that takes a lock its caller has."},

    // ---- the client's fault ----
    {R::double_free, "double-free", client, 415, "something was released that had been released before",
     "Find the first release in the history; often both an error path and the normal path do it."},
    {R::free_mismatch, "free-mismatch", client, 763,
     "a release names a live object by a wrong size, direction or address (interior or foreign)",
     "Release with exactly the address and size that allocation or mapping returned."},
    {R::wrong_kind, "wrong-kind", client, 762,
     "an object of one kind was used as another: coherent memory mapped or synced, pool memory freed as a buffer",
     "Coherent memory needs neither map nor sync; release with the call that belongs to the allocation."},
    {R::wrong_device, "wrong-device", client, 763,
     "an object was used or released for a device that it does not belong to",
     "Look which device the driver keeps beside the address, especially with several functions of one card."},
    {R::wrong_direction, "wrong-direction", client, 628,
     "a map, sync or unmap names no direction, or one that contradicts the mapping",
     "Sync and unmap with the direction of the map; only a bidirectional mapping may be synced by halves."},
    {R::leak, "leak", client, 401, "something is still alive when what it depends on, or the case, goes away",
     "Release every block before its pool; end mappings, attachments and windows of a device before its driver goes."},
    {R::overlapping_mapping, "overlapping-mapping", client, 662,
     "bytes of a live mapping were mapped again, and not both times to_device",
     "Unmap first. Only devices that merely read may have the same bytes at the same time."},
    {R::shared_cache_line, "shared-cache-line", client, 188,
     "a line with bytes that a non-coherent device may write also holds bytes of another mapping or allocation",
     "Give such buffers whole cache lines: align both their start and their size."},
    {R::bad_length, "bad-length", client, 131,
     "a length cannot be right: it wraps, is longer than the object, or more is `used` than was mapped",
     "Look for offset + length that overflows and for a size that came from the device unchecked."},
    {R::sync_outside, "sync-outside", client, 119, "a sync reaches beyond its live mapping",
     "The offset counts from the start of the mapping, not of the buffer."},
    {R::sync_without_effect, "sync-without-effect", client, 573,
     "a bidirectional mapping was synced in the direction that this phase does not move: for_cpu(to) or "
     "for_device(from)",
     "for_cpu brings device data (from), for_device brings CPU data (to); else name bidirectional."},
    {R::stale_cpu_read, "stale-cpu-read", client, 1250,
     "the CPU read bytes that a device wrote and that were unmapped without a hand-over",
     "Sync for the CPU before an unmap that skips the cache work."},
    {R::dirty_device_read, "dirty-device-read", client, 1250,
     "a device read bytes that the CPU wrote after it got them and did not hand over",
     "Call sync_for_device after the last CPU write, over all bytes written."},
    {R::cpu_read_of_device_bytes, "cpu-read-of-device-bytes", client, 567,
     "the CPU read bytes of a from_device or bidirectional mapping that the device owns",
     "Sync for the CPU or unmap before reading; look whether the sync covers the byte."},
    {R::cpu_write_of_device_bytes, "cpu-write-of-device-bytes", client, 567, "the CPU wrote bytes that a device owns",
     "Sync for the CPU first; with several to_device mappings of the bytes, sync each of them."},
    {R::device_access_denied, "device-access-denied", client, 285,
     "a device accessed bytes that the CPU holds, or that are not mapped for it",
     "Hand the bytes over with sync_for_device before the device starts, and stop it before taking them back."},
    {R::device_wrong_direction, "device-wrong-direction", client, 285,
     "a device wrote to_device bytes or read from_device bytes",
     "The direction of the map does not say what the device does; status words it updates need bidirectional."},
    {R::dirty_line_over_device_data, "dirty-line-over-device-data", client, 1250,
     "the CPU dirtied a line in which a non-coherent device owns bytes that it may write",
     "The line will be written back over the device's data: keep CPU fields out of lines that a device writes, and "
     "sync whole lines."},
    {R::invalidate_destroys_neighbour, "invalidate-destroys-neighbour", client, 787,
     "a client invalidated a line that holds dirty bytes of somebody else",
     "Invalidate whole lines of your own only, or flush the edge lines first."},
    {R::sync_discards_write, "sync-discards-write", client, 362,
     "a sync or unmap overwrites what the other side wrote and did not hand over",
     "Sync for the device what the CPU wrote before taking it back, and for the CPU what the device wrote before "
     "giving it away."},
    {R::free_while_mapped, "free-while-mapped", client, 825,
     "memory was given up while a mapping or window of it is alive",
     "Unmap first: the device would write into what is the next owner's memory."},
    {R::uninitialised_to_device, "uninitialised-to-device", client, 908,
     "a device read bytes that nobody has written since they were allocated",
     "Write every byte that the device will read, padding and unused descriptor fields too."},
    {R::read_of_unwritten, "read-of-unwritten", client, 908,
     "the CPU read bytes that were never written or have become indeterminate",
     "Read only what the device says it wrote; a CPU write that was not handed over may be lost."},
    {R::use_after_free, "use-after-free", client, 416, "freed memory was accessed or mapped",
     "Stop the device and drop every pointer before the free."},
    {R::use_after_unmap, "use-after-unmap", client, 416, "a mapping or window was used after its end",
     "Stop the device before the unmap and forget the address with it."},
    {R::out_of_bounds, "out-of-bounds", client, 119,
     "an access or call reaches beyond its object: nobody's bytes, the granted tail of a block",
     "Only the size that was asked for is yours, however much was reserved; windows show whole pages."},
    {R::use_after_release, "use-after-release", client, 416,
     "something was used after what it belongs to had been released",
     "Release the pool last, and the dma-buf after its attachments and windows."},
    {R::wrong_identity, "wrong-identity", client, 672,
     "a dead reference was used, and its bytes belong to another allocation by now",
     "The state of the bytes is right and the owner is wrong: look for a stale address in a descriptor or a cached "
     "pointer."},

    // ---- the tool's own ----
    {R::auditor_exhausted, "auditor-exhausted", tool, 770,
     "the auditor ran out of something or met a state it does not know",
     "Nothing after this point was judged. Make the case smaller, or report it as a defect of dmaudit."},

    // ---- added later: numbers are for ever ----
    {R::still_reachable, "still-reachable", provider, 1260,
     "a device behind an IOMMU can still reach memory that was unmapped or freed",
     "Remove every page of the translation, and flush the IOMMU before the call returns and before the memory or the "
     "address is used again."},
    {R::opaque_dereference, "opaque-dereference", client, 822,
     "the CPU touched memory that has no CPU mapping, through its handle",
     "A handle from DMA_ATTR_NO_KERNEL_MAPPING is no pointer: hand it to mmap or free, or allocate with a mapping."},
    {R::wrong_count, "wrong-count", client, 131,
     "a scatterlist was unmapped or synced with another number of entries than it was mapped with",
     "Unmap and sync take the original count; only the walk over the device's segments takes what map returned."},
    {R::cpu_access_bracket, "cpu-access-bracket", client, 662,
     "the CPU used bytes of a dma-buf outside of begin_cpu_access and end_cpu_access of that direction and range",
     "Bracket every access of the CPU; to_device is for writing, from_device for reading."},
    {R::teardown_order, "teardown-order", provider, 696, "managed resources were not released last taken first",
     "Walk one list of all kinds from its young end: memory and actions that depend on each other were taken in "
     "order."},
    {R::never_released, "never-released", provider, 401,
     "a driver is gone, or a group released, and something that it managed is still there",
     "Look for a kind that the walk leaves out, an error that stops it, and a node that lost its place in the list."},
    {R::released_twice, "released-twice", provider, 415, "an action of a driver ran twice",
     "Take the node out of the list before its action runs, and free it once."},
    {R::released_early, "released-early", provider, 416,
     "something managed was released although neither its driver nor its group went",
     "Look for a walk that does not stop at the group or at the device, and for an error path that frees a neighbour."},
    {R::unchecked_mapping_error, "unchecked-mapping-error", client, 252,
     "a mapping was used, or taken back, that was never tested with dma_mapping_error",
     "Test every address that a map returns before the device gets it; a failed map must not be used at all."},
    {R::provider_crash, "provider-crash", provider, 248,
     "the process died or was ended while the provider ran (in a child process), or metadata was freed that is none or "
     "written beyond its ends",
     "Replay with a debugger: nothing may abort, exit or fault across the provider's interface, whatever a client "
     "does."},
    {R::not_deterministic, "not-deterministic", provider, 758, "the same case, run again, took another course",
     "Look for state outside the instance, uninitialised memory, addresses or clocks that decide something."},
    {R::metadata_exposed, "metadata-exposed", provider, 668,
     "the provider changed bytes of a live block's granted tail, which the device can reach",
     "Keep headers, footers and free lists outside of what is granted: a device that overruns the block writes there."},
    {R::excess_rights, "excess-rights", provider, 732,
     "a device behind an IOMMU may do more with mapped memory than the direction of its mapping says",
     "to_device needs the right to read, from_device the right to write, and neither the other one."},
    {R::exposes_neighbour, "exposes-neighbour", provider, 668,
     "a device behind an IOMMU reaches bytes beside its mapping that were promised to be out of its reach",
     "A translation is whole pages: map a bounce buffer with pages of its own for what begins or ends inside of one."},
    {R::missing_barrier, "missing-barrier", client, 362,
     "in a world of weak order a device read coherent bytes that the CPU stored, and no barrier stood between",
     "Put dma_wmb between payload and the word that publishes it, and ring the doorbell with writel, which orders "
     "too."},
    {R::double_fetch, "double-fetch", client, 367,
     "in a world of single fetches the CPU read a coherent byte twice that the device may change, without a barrier",
     "Copy what the device supplies once, and check and use the copy; a loop that polls reads through dma_rmb."},
    {R::unmappable_memory, "unmappable-memory", client, 668,
     "a stack, constants or a vmalloc area were mapped, where only memory of the linear mapping may be",
     "Take the buffer with kmalloc or alloc_pages; map a vmalloc area page by page, as a scatterlist."},
    {R::sleeps_in_atomic, "sleeps-in-atomic", client, 833,
     "a call that may sleep was made in a context that must not (interrupt, spinlock)",
     "Allocate and export beforehand; only maps, syncs, their reversals and pool memory are for any context."},
    {R::unchecked_index, "unchecked-index", client, 129,
     "in a world of untrusted devices what one wrote was used as an index, length or pointer without a check",
     "Copy the value, compare the copy with the bound, and use the copy; ids that were handed out are looked up."},
}};

constexpr bool in_order()
{
    for (size_t i = 0; i < table.size(); i++)
        if (table[i].id != static_cast<RuleId>(i))
            return false;
    return true;
}
static_assert(in_order(), "rules stand in the order of RuleId, each once");

} // namespace

const std::array<Rule, rule_count>& rules()
{
    return table;
}

std::optional<RuleId> rule_named(std::string_view name)
{
    const auto found = std::find_if(table.begin(), table.end(), [name](const Rule& r) { return r.name == name; });
    return found == table.end() ? std::nullopt : std::optional(found->id);
}

} // namespace dmaudit
