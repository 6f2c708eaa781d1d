// A client's mistake is named exactly, whatever the machine is like and whatever went before, and is never blamed on
// the provider. Where an op breaks several rules at once, the published order decides: dead reference > kind > device >
// range and length > direction > byte table (lowest address) > line rules.
#include "harness/scope.hpp"
#include "harness/smaller.hpp"
#include "harness/text.hpp"
#include "properties/support.hpp"

#include <fmt/core.h>
#include <gtest/gtest.h>

namespace dmaudit::properties {
namespace {

enum class Device { any, coherent, non_coherent };

// A few legal lines, and one more that is not. {at}: a place for a client's buffer on lines of its own, {next}: 8 bytes
// further; {pool}: a place for a pool; {page}, {page2}, {page4}: bytes of so many pages. Everything is done with device
// 0.
struct Mistake {
    const char* name;
    RuleId rule;
    const char* legal;
    const char* illegal;
    Device device = Device::any;
    int64_t first_byte = -1; // of b200: the byte that the violation must name
};

#define BUFFER "b200 = buffer size=1024 at={at}\ncpu_write b200 off=0 len=1024 seed=1\n"
#define MAP(dir) BUFFER "m200 = map_single b200 off=0 len=1024 dir=" dir " dev=0\n"
#define BLOCK "k200 = alloc_coherent dev=0 size=100 zero=yes\n"
#define POOL "p200 = declare_pool dev=0 size={page4} at={pool} exclusive=yes\n"
#define POOLED POOL "k200 = alloc_from_pool p200 size={page2}\n"
#define OPAQUE "k200 = alloc_opaque dev=0 size=100\n"
#define CACHED(dir) "k200 = alloc_noncoherent dev=0 size=100 dir=" dir "\n"
#define LIST(dir) BUFFER "g200 = map_sg b200 off=0 len=1024 dir=" dir " dev=0 n=4\n"
#define NEIGHBOURS                                                                                                     \
    "b200 = buffer size=8 at={at}\nb201 = buffer size=8 at={next}\ncpu_write b200 off=0 len=8 seed=1\ncpu_write b201 " \
    "off=0 len=8 seed=2\n"

using enum RuleId;
const Mistake mistakes[] = {
    // ---- dead references ----
    {"free_a_buffer_twice", double_free, BUFFER "free_buffer b200", "free_buffer b200"},
    {"unmap_twice", double_free, MAP("bidirectional") "unmap_single m200", "unmap_single m200"},
    {"free_a_block_twice", double_free, BLOCK "free_coherent k200", "free_coherent k200"},
    {"release_a_pool_block_twice", double_free, POOLED "release_from_pool k200", "release_from_pool k200"},
    {"close_a_window_twice", double_free, POOLED "w200 = mmap_from_pool k200 pages=2\nmunmap w200", "munmap w200"},
    {"release_a_pool_twice", double_free, POOL "release_pool p200", "release_pool p200"},
    {"read_a_freed_buffer", use_after_free, BUFFER "free_buffer b200", "cpu_read b200 off=0 len=8"},
    {"write_a_freed_buffer", use_after_free, BUFFER "free_buffer b200", "cpu_write b200 off=0 len=8 seed=1"},
    {"flush_a_freed_buffer", use_after_free, BUFFER "free_buffer b200", "cache b200 off=0 len=8 op=flush"},
    {"read_a_freed_block", use_after_free, BLOCK "free_coherent k200", "cpu_read k200 off=0 len=8"},
    {"device_reads_a_freed_block", use_after_free, BLOCK "free_coherent k200", "device_read k200 off=0 len=8"},
    {"device_writes_a_freed_block", use_after_free, BLOCK "free_coherent k200", "device_write k200 off=0 len=8 seed=1"},
    {"window_onto_a_freed_block", use_after_free, POOLED "release_from_pool k200",
     "w200 = mmap_from_pool k200 pages=1"},
    {"sync_for_cpu_after_unmap", use_after_unmap, MAP("bidirectional") "unmap_single m200",
     "sync_single_for_cpu m200 off=0 len=8"},
    {"sync_for_device_after_unmap", use_after_unmap, MAP("to_device") "unmap_single m200",
     "sync_single_for_device m200 off=0 len=8"},
    {"device_reads_after_unmap", use_after_unmap, MAP("to_device") "unmap_single m200", "device_read m200 off=0 len=8"},
    {"device_writes_after_unmap", use_after_unmap, MAP("from_device") "unmap_single m200",
     "device_write m200 off=0 len=8 seed=1"},
    {"allocate_from_a_released_pool", use_after_release, POOL "release_pool p200",
     "k201 = alloc_from_pool p200 size=8"},
    {"device_writes_a_block_that_is_somebody_elses_by_now", wrong_identity,
     BLOCK "free_coherent k200\nk201 = alloc_coherent dev=0 size=100 zero=yes", "device_write k200 off=0 len=8 seed=1"},
    {"device_writes_a_buffer_that_is_somebody_elses_by_now", wrong_identity,
     MAP("from_device") "unmap_single m200\nfree_buffer b200\nb201 = buffer size=1024 at={at}",
     "device_write m200 off=0 len=8 seed=1"},
    {"unmap_a_list_twice", double_free, LIST("to_device") "unmap_sg g200", "unmap_sg g200"},
    {"sync_a_list_after_unmap", use_after_unmap, LIST("from_device") "unmap_sg g200", "sync_sg_for_cpu g200"},
    {"free_a_cached_block_twice", double_free, CACHED("bidirectional") "free_noncoherent k200",
     "free_noncoherent k200"},
    {"sync_a_freed_cached_block", use_after_free, CACHED("to_device") "free_noncoherent k200",
     "sync_single_for_device k200 off=0 len=8"},
    // ---- kind ----
    {"free_an_opaque_block_as_a_cached_one", wrong_kind, OPAQUE, "free_noncoherent k200"},
    {"free_a_cached_block_as_a_coherent_one", wrong_kind, CACHED("to_device"), "free_coherent k200"},
    {"window_onto_a_cached_block", wrong_kind, CACHED("to_device"), "w200 = mmap_coherent k200"},
    {"sync_a_coherent_block", wrong_kind, BLOCK, "sync_single_for_cpu k200 off=0 len=8"},
    {"unmap_a_coherent_block", wrong_kind, BLOCK, "free_coherent k200 lie=other-kind"},
    {"free_a_mapping_as_a_block", wrong_kind, MAP("to_device"), "unmap_single m200 lie=other-kind"},
    {"map_a_coherent_block", wrong_kind, BLOCK, "m200 = map_single k200 off=0 len=10 dir=to_device dev=0"},
    // ---- device ----
    {"free_for_another_device", wrong_device, BLOCK, "free_coherent k200 lie=other-device"},
    {"release_for_another_device", wrong_device, POOLED, "release_from_pool k200 lie=other-device"},
    {"window_for_another_device", wrong_device, POOLED, "w200 = mmap_from_pool k200 pages=1 lie=other-device"},
    {"unmap_for_another_device", wrong_device, MAP("to_device"), "unmap_single m200 lie=other-device"},
    {"sync_for_another_device", wrong_device, MAP("from_device"),
     "sync_single_for_cpu m200 off=0 len=8 lie=other-device"},
    {"another_device_reads_a_block", wrong_device, BLOCK, "device_read k200 off=0 len=8 lie=other-device"},
    {"allocate_for_no_device", wrong_device, BUFFER, "k200 = alloc_coherent dev=9 size=8"},
    {"map_for_no_device", wrong_device, BUFFER, "m200 = map_single b200 off=0 len=8 dir=to_device dev=9"},
    {"another_device_reads_a_mapping", device_access_denied, MAP("to_device"),
     "device_read m200 off=0 len=8 lie=other-device"},
    // ---- what is given back is not what was given ----
    {"unmap_less", free_mismatch, MAP("to_device"), "unmap_single m200 lie=size-1"},
    {"unmap_more", free_mismatch, MAP("from_device"), "unmap_single m200 lie=size+1"},
    {"unmap_an_interior_address", free_mismatch, MAP("bidirectional"), "unmap_single m200 lie=interior"},
    {"unmap_a_foreign_address", free_mismatch, MAP("bidirectional"), "unmap_single m200 lie=foreign"},
    {"free_less", free_mismatch, BLOCK, "free_coherent k200 lie=size-1"},
    {"free_more", free_mismatch, BLOCK, "free_coherent k200 lie=size+1"},
    {"free_an_interior_address", free_mismatch, BLOCK, "free_coherent k200 lie=interior"},
    {"free_a_foreign_address", free_mismatch, BLOCK, "free_coherent k200 lie=foreign"},
    {"release_a_smaller_order", free_mismatch, POOLED, "release_from_pool k200 lie=size-1"},
    {"release_a_larger_order", free_mismatch, POOLED, "release_from_pool k200 lie=size+1"},
    {"release_an_interior_address", free_mismatch, POOLED, "release_from_pool k200 lie=interior"},
    {"unmap_a_list_of_fewer_entries", wrong_count, LIST("to_device"), "unmap_sg g200 lie=size-1"},
    {"unmap_a_list_of_more_entries", wrong_count, LIST("from_device"), "unmap_sg g200 lie=size+1"},
    {"sync_a_list_of_fewer_entries", wrong_count, LIST("bidirectional"), "sync_sg_for_cpu g200 lie=size-1"},
    {"unmap_a_list_for_another_device", wrong_device, LIST("to_device"), "unmap_sg g200 lie=other-device"},
    {"unmap_a_list_in_another_direction", wrong_direction, LIST("from_device"), "unmap_sg g200 lie=other-dir"},
    {"free_less_of_a_cached_block", free_mismatch, CACHED("to_device"), "free_noncoherent k200 lie=size-1"},
    {"free_a_cached_block_in_another_direction", wrong_direction, CACHED("to_device"),
     "free_noncoherent k200 lie=other-dir"},
    // ---- range and length ----
    {"sync_past_the_end", sync_outside, MAP("to_device"), "sync_single_for_device m200 off=1020 len=8"},
    {"sync_another_address", sync_outside, MAP("to_device"), "sync_single_for_device m200 off=0 len=8 lie=foreign"},
    {"sync_a_range_that_wraps", bad_length, MAP("to_device"),
     "sync_single_for_device m200 off=8 len=0xffffffffffffffff"},
    {"use_more_than_was_mapped", bad_length, MAP("from_device"), "unmap_single m200 used=1025"},
    {"read_a_range_that_wraps", bad_length, BUFFER, "cpu_read b200 off=8 len=0xffffffffffffffff"},
    {"window_of_another_size", bad_length, POOLED, "w200 = mmap_from_pool k200 pages=1 lie=size+1"},
    {"read_past_the_end", out_of_bounds, BUFFER, "cpu_read b200 off=1020 len=8"},
    {"write_past_the_end", out_of_bounds, BUFFER, "cpu_write b200 off=1024 len=1 seed=1"},
    {"flush_past_the_end", out_of_bounds, BUFFER, "cache b200 off=1020 len=8 op=flush"},
    {"map_past_the_end", out_of_bounds, BUFFER, "m200 = map_single b200 off=1000 len=25 dir=to_device dev=0"},
    {"map_into_a_neighbour", out_of_bounds, NEIGHBOURS, "m200 = map_single b200 off=0 len=9 dir=to_device dev=0",
     Device::any, 8},
    {"map_a_freed_buffer", out_of_bounds, BUFFER "free_buffer b200",
     "m200 = map_single b200 off=0 len=8 dir=to_device dev=0"},
    {"device_reads_past_the_end_of_a_block", out_of_bounds, BLOCK, "device_read k200 off=96 len=8"},
    {"window_from_an_interior_address", out_of_bounds, POOLED, "w200 = mmap_from_pool k200 pages=1 lie=interior"},
    {"device_reads_past_the_end_of_a_mapping", device_access_denied, MAP("to_device"),
     "device_read m200 off=1020 len=8"},
    // ---- direction ----
    {"map_in_no_direction", wrong_direction, BUFFER, "m200 = map_single b200 off=0 len=8 dir=none dev=0"},
    {"unmap_in_another_direction", wrong_direction, MAP("from_device"), "unmap_single m200 lie=other-dir"},
    {"sync_in_another_direction", wrong_direction, MAP("to_device"),
     "sync_single_for_cpu m200 off=0 len=8 dir=from_device"},
    {"sync_in_no_direction", wrong_direction, MAP("bidirectional"), "sync_single_for_device m200 off=0 len=8 dir=none"},
    {"sync_for_cpu_what_goes_to_the_device", sync_without_effect, MAP("bidirectional"),
     "sync_single_for_cpu m200 off=0 len=8 dir=to_device"},
    {"sync_for_device_what_comes_from_it", sync_without_effect,
     MAP("bidirectional") "sync_single_for_cpu m200 off=0 len=1024",
     "sync_single_for_device m200 off=0 len=8 dir=from_device"},
    // ---- the byte table ----
    {"read_through_an_opaque_handle", opaque_dereference, OPAQUE, "cpu_read k200 off=0 len=8"},
    {"write_through_an_opaque_handle", opaque_dereference, OPAQUE, "cpu_write k200 off=8 len=8 seed=1"},
    {"write_an_exported_block_without_a_bracket", cpu_access_bracket,
     "k200 = alloc_coherent dev=0 size=100 zero=yes\nx200 = export_block k200\n", "cpu_write k200 off=0 len=8 seed=1"},
    {"device_reads_a_cached_block_not_handed_over", dirty_device_read, CACHED("to_device"),
     "device_read k200 off=0 len=8"},
    {"read_a_cached_block_of_the_device", cpu_read_of_device_bytes,
     CACHED("from_device") "sync_single_for_device k200 off=0 len=100", "cpu_read k200 off=0 len=8"},
    {"map_a_list_over_a_writing_device", overlapping_mapping, MAP("bidirectional"),
     "g200 = map_sg b200 off=0 len=1024 dir=to_device dev=0 n=4"},
    {"map_over_a_writing_device", overlapping_mapping, MAP("bidirectional"),
     "m201 = map_single b200 off=512 len=8 dir=to_device dev=0", Device::any, 512},
    {"map_from_over_to", overlapping_mapping, MAP("to_device"),
     "m201 = map_single b200 off=8 len=8 dir=from_device dev=0", Device::any, 8},
    {"map_from_over_bytes_held_by_the_cpu", overlapping_mapping,
     MAP("from_device") "sync_single_for_cpu m200 off=0 len=1024",
     "m201 = map_single b200 off=0 len=8 dir=from_device dev=0", Device::any, 0},
    {"read_what_the_device_wrote_without_a_sync", stale_cpu_read,
     MAP("from_device") "device_write m200 off=16 len=8 seed=3\nunmap_single m200 attrs=skip",
     "cpu_read b200 off=0 len=32", Device::any, 16},
    {"read_what_the_device_has", cpu_read_of_device_bytes, MAP("from_device"), "cpu_read b200 off=4 len=4", Device::any,
     4},
    {"read_what_the_device_has_after_it_wrote", cpu_read_of_device_bytes,
     MAP("bidirectional") "device_write m200 off=0 len=8 seed=2", "cpu_read b200 off=0 len=4", Device::any, 0},
    {"write_what_the_device_has", cpu_write_of_device_bytes, MAP("bidirectional"),
     "cpu_write b200 off=100 len=4 seed=1", Device::any, 100},
    {"write_what_one_of_two_mappings_still_has", cpu_write_of_device_bytes,
     MAP("to_device") "m201 = map_single b200 off=0 len=1024 dir=to_device dev=0\nsync_single_for_cpu m200 off=0 "
                      "len=1024",
     "cpu_write b200 off=0 len=8 seed=1"},
    {"device_reads_what_the_cpu_wrote", dirty_device_read, MAP("to_device") "cpu_write b200 off=64 len=4 seed=9",
     "device_read m200 off=0 len=1024", Device::any, 64},
    {"device_reads_what_a_map_without_sync_left_dirty", dirty_device_read,
     BUFFER "m200 = map_single b200 off=0 len=1024 dir=to_device dev=0 attrs=skip", "device_read m200 off=0 len=8",
     Device::any, 0},
    {"device_reads_what_the_cpu_has", device_access_denied, MAP("bidirectional") "sync_single_for_cpu m200 off=8 len=8",
     "device_read m200 off=0 len=16", Device::any, 8},
    {"device_writes_what_the_cpu_has", device_access_denied,
     MAP("from_device") "sync_single_for_cpu m200 off=0 len=1024", "device_write m200 off=0 len=16 seed=1", Device::any,
     0},
    {"device_writes_what_it_may_read", device_wrong_direction, MAP("to_device"), "device_write m200 off=0 len=8 seed=1",
     Device::any, 0},
    {"device_reads_what_it_may_write", device_wrong_direction, MAP("from_device"), "device_read m200 off=0 len=8",
     Device::any, 0},
    {"unmap_what_the_cpu_wrote", sync_discards_write,
     MAP("bidirectional") "sync_single_for_cpu m200 off=0 len=1024\ncpu_write b200 off=0 len=1024 seed=4",
     "unmap_single m200", Device::any, 0},
    {"sync_for_cpu_what_the_cpu_wrote", sync_discards_write,
     MAP("from_device") "sync_single_for_cpu m200 off=0 len=1024\ncpu_write b200 off=512 len=256 seed=4",
     "sync_single_for_cpu m200 off=0 len=1024", Device::any, 512},
    {"sync_for_device_what_the_device_wrote", sync_discards_write,
     MAP("bidirectional") "device_write m200 off=32 len=8 seed=5", "sync_single_for_device m200 off=0 len=1024",
     Device::any, 32},
    {"free_a_mapped_buffer", free_while_mapped, MAP("to_device"), "free_buffer b200", Device::any, 0},
    {"release_a_block_with_a_window", free_while_mapped, POOLED "w200 = mmap_from_pool k200 pages=1",
     "release_from_pool k200"},
    {"device_reads_what_nobody_wrote", uninitialised_to_device,
     "b200 = buffer size=1024 at={at}\ncpu_write b200 off=0 len=8 seed=1\n"
     "m200 = map_single b200 off=0 len=1024 dir=to_device dev=0",
     "device_read m200 off=0 len=9", Device::any, 8},
    {"device_reads_an_unwritten_block", uninitialised_to_device, "k200 = alloc_coherent dev=0 size=100 zero=no",
     "device_read k200 off=0 len=8"},
    {"read_a_fresh_buffer", read_of_unwritten, "b200 = buffer size=1024 at={at}\ncpu_write b200 off=0 len=8 seed=1",
     "cpu_read b200 off=0 len=16", Device::any, 8},
    {"read_an_unwritten_block", read_of_unwritten, "k200 = alloc_coherent dev=0 size=100 zero=no",
     "cpu_read k200 off=0 len=8"},
    {"read_what_was_written_into_a_from_device_mapping", read_of_unwritten,
     MAP("from_device") "sync_single_for_cpu m200 off=0 len=1024\ncpu_write b200 off=0 len=256 "
                        "seed=4\nsync_single_for_device m200 off=0 len=1024\nunmap_single m200",
     "cpu_read b200 off=0 len=8", Device::any, 0},
    {"read_beyond_what_the_device_used", read_of_unwritten,
     MAP("from_device") "device_write m200 off=0 len=64 seed=4\nunmap_single m200 used=32",
     "cpu_read b200 off=0 len=64", Device::any, 32},
    {"release_a_pool_with_a_living_block", leak, POOLED, "release_pool p200"},
    // ---- in worlds where errors are checked ----
    {"device_reads_an_untested_mapping", unchecked_mapping_error, MAP("to_device"), "device_read m200 off=0 len=8"},
    {"unmap_an_untested_mapping", unchecked_mapping_error, MAP("bidirectional"), "unmap_single m200"},
    // ---- in worlds that are strict with the order and the number of accesses; contexts; kinds of memory ----
    {"device_reads_what_no_barrier_published", missing_barrier,
     BLOCK "cpu_write k200 off=0 len=8 seed=1\nbarrier\ncpu_write k200 off=24 len=8 seed=2",
     "device_read k200 off=16 len=64"},
    {"read_twice_what_the_device_may_change", double_fetch, BLOCK "cpu_read k200 off=8 len=8",
     "cpu_read k200 off=0 len=64"},
    {"index_by_what_the_device_wrote", unchecked_index,
     BLOCK "device_write k200 off=0 len=16 seed=1\ncpu_write k200 off=0 len=8 seed=2", "cpu_index k200 off=4 len=8"},
    {"length_that_came_in_a_mapped_buffer", unchecked_index,
     MAP("from_device") "device_write m200 off=0 len=1024 seed=4\nunmap_single m200", "cpu_index b200 off=100 len=4",
     Device::any, 100},
    {"map_memory_of_the_stack", unmappable_memory,
     "b200 = buffer size=1024 at={at} memory=stack\ncpu_write b200 off=0 len=1024 seed=1",
     "m200 = map_single b200 off=0 len=8 dir=to_device dev=0", Device::any, 0},
    {"map_a_list_of_a_vmalloc_area", unmappable_memory,
     "b200 = buffer size=1024 at={at} memory=vmalloc\ncpu_write b200 off=0 len=1024 seed=1",
     "g200 = map_sg b200 off=0 len=1024 dir=to_device dev=0 n=4", Device::any, 0},
    {"allocate_in_an_interrupt", sleeps_in_atomic, "context kind=atomic", "k200 = alloc_coherent dev=0 size=100"},
    {"free_under_a_spinlock", sleeps_in_atomic, BLOCK "context kind=atomic", "free_coherent k200"},
    // ---- lines ----
    {"map_two_buffers_of_one_line", shared_cache_line, NEIGHBOURS,
     "m200 = map_single b200 off=0 len=8 dir=from_device dev=0", Device::non_coherent, 8},
    {"map_two_parts_of_one_line", shared_cache_line, BUFFER "m200 = map_single b200 off=0 len=8 dir=to_device dev=0",
     "m201 = map_single b200 off=8 len=8 dir=from_device dev=0", Device::non_coherent},
    {"write_into_half_a_line", dirty_line_over_device_data, MAP("bidirectional") "sync_single_for_cpu m200 off=0 len=8",
     "cpu_write b200 off=0 len=8 seed=3", Device::non_coherent, 8},
    {"write_beside_a_mapping", dirty_line_over_device_data,
     BUFFER "m200 = map_single b200 off=8 len=1016 dir=from_device dev=0", "cpu_write b200 off=0 len=4 seed=3",
     Device::non_coherent, 8},
    {"hand_over_half_a_dirty_line", dirty_line_over_device_data,
     MAP("bidirectional") "sync_single_for_cpu m200 off=0 len=1024\ncpu_write b200 off=4 len=3 seed=3",
     "sync_single_for_device m200 off=4 len=1", Device::non_coherent, 5},
    {"invalidate_a_neighbour", invalidate_destroys_neighbour, NEIGHBOURS, "cache b200 off=0 len=8 op=invalidate",
     Device::any, 8},
    // ---- several at once: the order ----
    {"order_dead_before_kind", double_free, BLOCK "free_coherent k200", "free_coherent k200 lie=other-kind"},
    {"order_dead_before_device", double_free, MAP("to_device") "unmap_single m200",
     "unmap_single m200 lie=other-device"},
    {"order_dead_before_size", double_free, BLOCK "free_coherent k200", "free_coherent k200 lie=size+1"},
    {"order_dead_before_range", use_after_free, BUFFER "free_buffer b200", "cpu_read b200 off=2000 len=8"},
    {"order_dead_before_direction", use_after_unmap, MAP("to_device") "unmap_single m200",
     "sync_single_for_cpu m200 off=0 len=8 dir=none"},
    {"order_kind_before_range", wrong_kind, BLOCK, "sync_single_for_cpu k200 off=5000 len=8"},
    {"order_device_before_range", wrong_device, MAP("to_device"),
     "sync_single_for_cpu m200 off=2000 len=8 lie=other-device"},
    {"order_device_before_direction", wrong_device, MAP("to_device"),
     "sync_single_for_cpu m200 off=0 len=8 dir=from_device lie=other-device"},
    {"order_range_before_direction", sync_outside, MAP("to_device"),
     "sync_single_for_cpu m200 off=2000 len=8 dir=from_device"},
    {"order_length_before_direction", bad_length, MAP("to_device"), "unmap_single m200 used=2000 lie=other-dir"},
    {"order_range_before_bytes", out_of_bounds, MAP("from_device"), "cpu_read b200 off=1020 len=8"},
    {"order_direction_before_bytes", sync_without_effect,
     MAP("bidirectional") "sync_single_for_cpu m200 off=0 len=1024\ncpu_write b200 off=0 len=1024 seed=4",
     "sync_single_for_cpu m200 off=0 len=1024 dir=to_device"},
    {"order_unwritten_byte_below_a_device_byte", read_of_unwritten,
     "b200 = buffer size=1024 at={at}\ncpu_write b200 off=0 len=512 seed=1\nm200 = map_single b200 off=768 len=256 "
     "dir=from_device dev=0",
     "cpu_read b200 off=0 len=1024", Device::any, 512},
    {"order_device_byte_below_an_unwritten_byte", cpu_read_of_device_bytes,
     "b200 = buffer size=1024 at={at}\ncpu_write b200 off=0 len=512 seed=1\nm200 = map_single b200 off=256 len=256 "
     "dir=from_device dev=0",
     "cpu_read b200 off=0 len=1024", Device::any, 256},
    {"order_bytes_before_lines_at_map", overlapping_mapping,
     BUFFER "m200 = map_single b200 off=8 len=1016 dir=bidirectional dev=0",
     "m201 = map_single b200 off=4 len=8 dir=from_device dev=0", Device::non_coherent, 8},
    {"order_bytes_before_lines_at_write", cpu_write_of_device_bytes,
     MAP("bidirectional") "sync_single_for_cpu m200 off=0 len=8", "cpu_write b200 off=0 len=16 seed=3",
     Device::non_coherent, 8},
};

class Named : public ::testing::TestWithParam<Mistake> {};
void PrintTo(const Mistake& m, std::ostream* out)
{
    *out << m.name;
}
INSTANTIATE_TEST_SUITE_P(Mistakes, Named, ::testing::ValuesIn(mistakes),
                         [](const auto& p) { return std::string(p.param.name); });

// Any world, with a device 0 that reaches everything and a second one.
World world_for(const Mistake& m, Rng& rng)
{
    World w = generated(rng.next(), "all", 0).world;
    w.mode = Mode::hostile;
    w.strict = {m.rule == unchecked_mapping_error, m.rule == missing_barrier, m.rule == double_fetch,
                m.rule == unchecked_index};
    w.devices[0].limit = all_ones;
    if (m.device != Device::any)
        w.devices[0].coherent = m.device == Device::coherent;
    if (w.n_devices == 1) {
        w.n_devices = 2;
        w.devices[1] = {all_ones, w.devices[0].offset, rng.below(2)};
    }
    return w;
}

// What came before: the legal part of a generated case.
Case legal_prefix(const Mistake& m, const World& w, Rng& rng, Checker& checker)
{
    const std::string_view all = m.legal;
    const bool alone = all.find("pool") != all.npos ||
                       all.find("alloc_coherent") != all.npos; // a pool of device 0 would change what is meant
    const uint64_t seed = rng.next();
    const auto steps = static_cast<unsigned>(rng.below(20));
    Case c = in_world(generated(seed, alone ? "streaming" : "all", steps), w);
    for (;;) {
        const Result r = checker.expect_no_fault_of_the_provider(c);
        if (!r.violation)
            return c;
        RC_ASSERT(r.step < c.count); // at the end everything is given back, and rightly
        c = without(c, r.step, 1);
    }
}

TEST_P(Named, exactly_and_with_its_lowest_byte)
{
    const Mistake& m = GetParam();
    Checker checker;
    for_all_seeds(25, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world_for(m, rng);
        const Case prefix = legal_prefix(m, w, rng, checker);
        Scope scope(w);
        for (const Step& s : prefix.all())
            scope.append(s);
        // Lines of its own: whole lines of the largest size around it.
        const uint64_t room = scope.free_place(obj_buffer, 0, 2048), at = (room + 255) / 256 * 256;
        RC_PRE(client_offset(w, room, 2048).has_value());
        for (const Known& o : scope.objects()) // without room any place is answered
            RC_PRE(
                (!o.alive || name_kind(o.name) != obj_buffer || o.place + o.length <= room || room + 2048 <= o.place));
        const auto with = [&](const char* lines) {
            return fmt::format(fmt::runtime(lines), fmt::arg("at", at), fmt::arg("next", at + 8),
                               fmt::arg("pool", scope.free_place(obj_pool, 0, 4 * w.page)), fmt::arg("page", w.page),
                               fmt::arg("page2", 2 * w.page),
                               fmt::arg("page4", std::min(4 * w.page, scope.space(obj_pool).largest)));
        };
        const std::string text = print(prefix) + with(m.legal) + "\n" + with(m.illegal) + "\n";
        const Parsed parsed = parse(text);
        if (!parsed.ok)
            RC_FAIL(text + parsed.error.message);
        const Case& c = parsed.value;
        const Case legal = without(c, c.count - 1u, 1);

        Tally alone, before, after;
        checker.run(prefix, &alone);
        const Result fine = checker.expect_no_fault_of_the_provider(legal, &before);
        if (fine.violation && fine.step < legal.count)
            RC_FAIL(text + "is called " + std::string(rule(fine.violation->rule).name) + " too early, in step " +
                    std::to_string(fine.step));
        const Result r = checker.expect_no_fault_of_the_provider(c, &after);
        // No room for the buffer, or a full pool or an injected fault: there is nothing to be mistaken about.
        RC_PRE(before.not_made == after.not_made);
        RC_PRE(before.impossible == alone.impossible);
        RC_PRE(before.failures == alone.failures);
        if (!r.violation || r.violation->rule != m.rule || r.step + 1u != c.count)
            RC_FAIL(text + "expected " + std::string(rule(m.rule).name) + ", found " +
                    std::string(r.violation ? rule(r.violation->rule).name : "nothing"));
        if (m.first_byte >= 0)
            RC_ASSERT(r.violation->bytes.at == *client_offset(w, at, 1) + static_cast<uint64_t>(m.first_byte));
    });
}

TEST(Mistakes, every_rule_of_the_client_has_one)
{
    for (const Rule& r : rules())
        if (r.id != none && r.fault == Fault::client) {
            EXPECT_TRUE(std::any_of(std::begin(mistakes), std::end(mistakes), [&](const Mistake& m) {
                return m.rule == r.id;
            })) << r.name;
        }
}

class Hostile : public ::testing::Test {
  protected:
    Checker checker;
};

TEST_F(Hostile, generated_mistakes_are_never_the_providers_fault)
{
    uint64_t mistakes_found = 0;
    for_all_seeds(hostile_cases, [&](uint64_t seed) {
        mistakes_found += checker.expect_no_fault_of_the_provider(generated(seed, "hostile")).violation.has_value();
    });
    EXPECT_GT(mistakes_found * 2, static_cast<uint64_t>(tries(8000))) << "most hostile cases hold a mistake";
}

TEST_F(Hostile, long_generated_cases_are_never_the_providers_fault)
{
    for_all_seeds(long_hostile_cases, [&](uint64_t seed) {
        checker.expect_no_fault_of_the_provider(generated(seed, "hostile", max_steps));
    });
}

// The first mistake of a hostile run is what a conforming client of the same case would have left out, for the same
// reason.
TEST_F(Hostile, the_first_mistake_is_the_first_step_that_conforming_mode_skips)
{
    for_all_seeds(2000, [&](uint64_t seed) {
        Case c = generated(seed, "hostile");
        const Result r = checker.run(c);
        RC_PRE(r.violation.has_value());
        RC_PRE(r.step < c.count);
        c.count = static_cast<uint16_t>(r.step + 1);
        for (size_t i = c.count; i < max_steps; i++)
            c.steps[i] = {};
        c.world.mode = Mode::conforming;
        Tally tally;
        checker.expect_no_violation(c, &tally);
        uint64_t judged = 0;
        for (const uint64_t n : tally.skipped_by)
            judged += n;
        // What conforming mode does not even attempt: devices that do not exist, maps beyond their buffer.
        RC_PRE(tally.impossible == 0u);
        RC_PRE(tally.illegal == judged);
        if (judged != 1 || tally.skipped_by[static_cast<size_t>(r.violation->rule)] != 1)
            RC_FAIL(print(c) + "is " + std::string(rule(r.violation->rule).name) + ", but something else is skipped");
    });
}

} // namespace
} // namespace dmaudit::properties
