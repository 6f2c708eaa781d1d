#include "shadow/classes.hpp"

namespace dmaudit {
namespace {

constexpr ErrorClass classes[] = {
    {1, "something is released twice, or a foreign, interior or error address is released",
     "double-free, free-mismatch, released-twice", "", "dma-debug/not-allocated"},
    {2, "a release names another size than the allocation or mapping", "free-mismatch", "", "dma-debug/size"},
    {3, "a release or use by the call of another kind of object, or of another pool", "wrong-kind", "",
     "dma-debug/function"},
    {4, "CPU address and device address do not belong together", "free-mismatch, wrong-translation", "",
     "dma-debug/cpu-address"},
    {5, "another device than the one that the object belongs to, or one that is gone",
     "wrong-device, use-after-release", "", "dma-debug/not-allocated-device"},
    {6, "unmap or sync in another direction than the map", "wrong-direction", "", "dma-debug/direction"},
    {7, "a scatterlist is unmapped or synced with another number of entries", "wrong-count", "", "dma-debug/sg-count"},
    {8, "the result of a mapping is not looked at, and the error value used as an address", "unchecked-mapping-error",
     "", "dma-debug/unchecked"},
    {9, "something is never given back: at the end of its device, pool or driver, or of the run",
     "leak, never-released, lost-capacity, free-while-mapped", "",
     "dma-debug/pending, broken/rule-lost-capacity-broken"},
    {10, "bytes are mapped twice, or handed out twice, if only one byte of them", "overlapping-mapping, overlap", "",
     "dma-debug/overlap, broken/rule-overlap-broken"},
    {11, "two mappings share a cache line though not a byte", "shared-cache-line", "",
     "rule-shared-cache-line-wide-broken"},
    {12, "a buffer does not begin and end on a cache line, and its neighbours in the line are used",
     "shared-cache-line, dirty-line-over-device-data, misaligned", "", "dma-debug/only-here-shared-line"},
    {13, "no bytes, a length that wraps or reaches past the object", "bad-length, out-of-bounds, wrong-return", "",
     "dma-debug/only-here-size-zero, dma-debug/only-here-window-too-large"},
    {14, "a sync outside of its mapping, of what is not mapped, after the unmap, or in the wrong order",
     "sync-outside, use-after-unmap, wrong-kind, sync-discards-write", "",
     "dma-debug/sync-outside, dma-debug/sync-not-allocated"},
    {15, "a sync in the direction that cannot have an effect", "sync-without-effect, wrong-direction", "",
     "dma-debug/only-here-sync-of-bidirectional"},
    {16, "a sync that is needed is missing: stale bytes are read, by the CPU or by a device",
     "stale-cpu-read, dirty-device-read, cpu-access-bracket, missing-clean, missing-invalidate", "",
     "dma-debug/only-here-no-sync, dma-debug/only-here-skip-at-unmap"},
    {17, "the CPU reads or writes bytes that a device owns",
     "cpu-read-of-device-bytes, cpu-write-of-device-bytes, cpu-access-bracket", "", "dma-debug/only-here-cpu-reads"},
    {18, "a device accesses bytes that are not mapped for it, free, or with the CPU",
     "device-access-denied, out-of-bounds, use-after-free, use-after-unmap, wrong-device", "",
     "dma-debug/only-here-device-of-cpus, dma-debug/only-here-device-past-the-mapping"},
    {19, "a device writes what it may only read, or reads what it may only write", "device-wrong-direction", "",
     "s75a-device-writes-to-device-bytes, s75b-device-reads-from-device-bytes"},
    {20, "the CPU writes after the hand-over and before the device has read",
     "dirty-device-read, cpu-write-of-device-bytes", "", "dma-debug/only-here-cpu-writes"},
    {21, "a dirty line is written back over what a device has written",
     "dirty-line-over-device-data, dirty-eviction, missing-invalidate", "", "dma-debug/only-here-shared-line-written"},
    {22, "a line that was loaded again while the device wrote hides the device's data",
     "missing-invalidate, stale-cpu-read", "", "broken/s57b-no-invalidate-at-unmap"},
    {23, "an invalidate drops dirty bytes of a neighbour in the line",
     "invalidate-destroys-neighbour, corrupts-neighbour", "",
     "s102c-neighbour-invalidated, broken/s103-page-invalidated"},
    {24, "stores to coherent memory reach the device in another order: a barrier is missing", "missing-barrier",
     "An optional mode, weak_order=yes of a world. The simulated CPU stores in program order; the mode asks for a "
     "barrier step between a store and a device's read of it. Reads of the CPU are not ordered.",
     "rule-missing-barrier-broken"},
    {25, "bytes that nobody has initialised reach a device or user space, padding and recycled memory too",
     "uninitialised-to-device, leaks-old-data, not-zeroed", "",
     "s76a-device-reads-unwritten-bytes, broken/s86-opaque-memory-not-cleared"},
    {26, "the CPU takes bytes for data that the device has not written", "read-of-unwritten", "",
     "rule-read-of-unwritten-block-broken"},
    {27, "the CPU accesses memory outside of its object, after its end, or without a mapping",
     "out-of-bounds, use-after-free, use-after-release, opaque-dereference, use-after-unmap", "",
     "rule-out-of-bounds-buffer-broken, dma-debug/only-here-cpu-after-free"},
    {28, "bytes that nobody may touch have changed, whoever touched them",
     "corrupts-neighbour, metadata-exposed, stale-bounce", "",
     "broken/s103-page-invalidated, broken/s63-short-copy-back"},
    {29, "a device writes late: after the free or unmap, while its translation is still there",
     "use-after-free, use-after-unmap, still-reachable, free-while-mapped, released-early", "",
     "dma-debug/only-here-device-after-unmap, s77a-device-writes-a-freed-block"},
    {30, "a page that is mapped or shown holds bytes of somebody else",
     "mmap-window, leaks-old-data, device-access-denied, metadata-exposed", "",
     "broken/s89-window-onto-the-wrong-page"},
    {31, "a device address that the device cannot drive, or that crosses what it must not cross; too many segments",
     "beyond-limit, crosses-boundary, misaligned, wrong-return", "",
     "broken/s73-limit-ignored, dma-debug/sg-boundary, broken/rule-wrong-return-sg-broken"},
    {32, "a bounce buffer: not copied, copied the wrong way, too short, misplaced, reused, lost",
     "stale-bounce, misaligned, overlap, lost-capacity, missing-clean", "",
     "broken/s60-not-copied-in, broken/s62-offset-in-the-line-lost"},
    {33, "memory of a kind that cannot be mapped: stacks, program text, vmalloc areas, pages that can go away",
     "unmappable-memory, out-of-bounds",
     "A case says of a buffer what it stands for (memory=stack); nothing tells by an address. Pages that go away under "
     "a mapping, as a user's that are not pinned, are not modelled.",
     "dma-debug/stack, dma-debug/vmalloc"},
    {34,
     "the allocator hands out memory that is in use, misplaced, misaligned, too short, not zeroed, of the wrong kind",
     "overlap, outside-arena, misaligned, short-block, not-zeroed, beyond-limit, not-coherent", "",
     "broken/rule-overlap-broken, broken/rule-not-zeroed-broken, broken/rule-outside-arena-broken"},
    {35, "the allocator keeps its own data where a device can write", "metadata-exposed, dirty-eviction", "",
     "broken/rule-metadata-exposed-broken"},
    {36, "an IOMMU: addresses used again before the flush, missing translations, wrong rights",
     "still-reachable, wrong-translation, device-access-denied, excess-rights, exposes-neighbour",
     "A device of a world is one source id, or one pair of source id and process address space (PASID), with a table "
     "of its own. An access with another is one of another device (lie=other-device).",
     "broken/s83-translation-kept, broken/rule-excess-rights-broken, "
     "rule-device-access-denied-other-address-space-broken"},
    {37, "the CPU reads the same device-writable byte twice and relies on both reads being equal", "double-fetch",
     "An optional mode, single_fetch=yes of a world, for coherent memory. In a case the client decides nothing by what "
     "it reads, so every second read counts, but for one behind a barrier. Reads through raw pointers are not seen.",
     "rule-double-fetch-broken"},
    {38, "an index, length or pointer that a device supplied is used unchecked", "unchecked-index",
     "An optional mode, untrusted=yes of a world: the auditor remembers what devices wrote, and cpu_index is a use as "
     "it stands. Copies are not followed. In a driver's own code it is found by fuzzing the driver.",
     "rule-unchecked-index-broken"},
    {39, "a call in a context that forbids it: atomic, with a lock held, after a shutdown",
     "sleeps-in-atomic, no-progress",
     "Optional: a case says in which context it goes on (context kind=atomic). Without that step only what shows is "
     "found: locks that are taken twice or kept, and calls after an unbind, a release or an unmap by their rules.",
     "rule-sleeps-in-atomic-broken, broken/rule-no-progress-broken"},
    {40, "a limit: no room, too many references, too many slots, and what a failure leaves behind",
     "spurious-failure, failure-has-effect, wrong-return, lost-capacity, use-after-release", "",
     "broken/rule-spurious-failure-broken, broken/rule-failure-has-effect-broken"},
    {41, "the state is right and the owner is wrong: a stale handle meets memory that has a new owner",
     "wrong-identity", "", "s77b-device-writes-a-reused-block"},
    {42, "the tool itself: it ran out of something, saw nothing, or says something else each time",
     "auditor-exhausted, not-deterministic", "", "rule-auditor-exhausted-broken, broken/rule-not-deterministic-broken"},
};

constexpr Invariant invariant_table[] = {
    {1, "no two live allocations or mappings share bytes, in no address space", "overlap, overlapping-mapping",
     "broken/rule-overlap-broken"},
    {2, "the last device address of a block or mapping is within the device's reach, and the range does not wrap",
     "beyond-limit, wrong-translation", "broken/s73-limit-off-by-one"},
    {3, "every alignment that was promised or asked for holds", "misaligned", "broken/s62-offset-in-the-line-lost"},
    {4, "a block has as many bytes as were asked for, in one piece where that is promised",
     "short-block, crosses-boundary, wrong-translation", "broken/rule-short-block-broken"},
    {5, "what must read zero reads zero, all that a user can see of it", "not-zeroed", "broken/rule-not-zeroed-broken"},
    {6, "a release takes exactly what is alive, named as it was handed out, once",
     "double-free, free-mismatch, wrong-kind, wrong-device, wrong-direction, wrong-count, wrong-return",
     "dma-debug/size, broken/s91-release-not-detected"},
    {7, "a release gives back exactly what the allocation took", "lost-capacity, spurious-failure, never-released",
     "broken/rule-lost-capacity-broken"},
    {8, "a device never reads a byte whose last CPU write was not handed over",
     "dirty-device-read, missing-clean, missing-barrier",
     "dma-debug/only-here-no-sync, broken/rule-missing-clean-map-broken, rule-missing-barrier-broken"},
    {9, "the CPU never reads what a device wrote before it was handed back",
     "cpu-read-of-device-bytes, stale-cpu-read, missing-invalidate, cpu-access-bracket",
     "dma-debug/only-here-cpu-reads, broken/s57a-no-invalidate-at-sync"},
    {10, "the CPU never writes bytes, or lines, that a device owns",
     "cpu-write-of-device-bytes, dirty-line-over-device-data, shared-cache-line, cpu-access-bracket",
     "dma-debug/only-here-cpu-writes"},
    {11, "what the device did not write is after the unmap as it was before the map",
     "stale-bounce, corrupts-neighbour, sync-discards-write, invalidate-destroys-neighbour, dirty-eviction",
     "broken/s63-short-copy-back"},
    {12, "no byte of an earlier owner can be seen", "leaks-old-data, uninitialised-to-device, read-of-unwritten",
     "broken/s86-opaque-memory-not-cleared"},
    {13, "a device touches only what is mapped for it, in the direction of the mapping",
     "device-access-denied, device-wrong-direction, use-after-unmap, use-after-free, still-reachable, excess-rights, "
     "exposes-neighbour",
     "dma-debug/only-here-device-after-unmap, broken/s83-translation-kept"},
    {14, "a call that fails has changed nothing, and says so by the convention of its kind",
     "failure-has-effect, wrong-return", "broken/rule-failure-has-effect-broken"},
    {15, "a window shows its block and nothing else", "mmap-window, out-of-bounds",
     "broken/s89-window-onto-the-wrong-page"},
    {16, "references: released once, and not used after the last one went",
     "use-after-release, released-twice, double-free, free-while-mapped",
     "rule-use-after-release-dma-buf-broken, dma-debug/only-here-put-attached"},
    {17, "what a driver manages goes with it, all of it, last taken first",
     "teardown-order, never-released, released-early, released-twice", "broken/rule-teardown-order-broken"},
    {18, "every call ends, and none takes the process down", "no-progress, provider-crash",
     "broken/rule-no-progress-loop-broken, broken/rule-provider-crash-free-broken"},
    {19, "locks are taken and given back in pairs, and nothing sleeps where it must not",
     "no-progress, sleeps-in-atomic", "broken/rule-no-progress-broken, rule-sleeps-in-atomic-broken"},
    {20, "sizes, orders and offsets are computed without truncation or overflow",
     "bad-length, out-of-bounds, outside-arena, sync-outside",
     "s25b-sync-that-wraps, rule-bad-length-that-wraps-broken"},
};

bool lists(std::string_view names, std::string_view name)
{
    bool found = false;
    for_each_name(names, [&](std::string_view n) { found |= n == name; });
    return found;
}

} // namespace

std::span<const ErrorClass> error_classes()
{
    return classes;
}
std::span<const Invariant> invariants()
{
    return invariant_table;
}

uint64_t classes_of(RuleId id)
{
    uint64_t set = 0;
    for (const ErrorClass& c : classes)
        if (lists(c.rules, rule(id).name))
            set |= uint64_t{1} << c.number;
    return set;
}
uint32_t invariants_of(RuleId id)
{
    uint32_t set = 0;
    for (const Invariant& i : invariant_table)
        if (lists(i.rules, rule(id).name))
            set |= uint32_t{1} << i.number;
    return set;
}

} // namespace dmaudit
