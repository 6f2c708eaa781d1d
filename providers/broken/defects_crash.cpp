// Providers that take the process down, hang, or remember what ran before. They say MAY_ABORT, so their cases run in
// child processes.
#include "providers/broken/defects.hpp"

#include "providers/builtin/builtin.hpp"

#include <cstdlib>

namespace dmaudit::broken {
namespace {

volatile uintptr_t nowhere = 64; // an address of no memory, which compilers cannot know
volatile bool searching = true;
unsigned opened = 0; // by all instances: the mistake of broken-counts-instances

// The block before the last one, while it lives, gets a byte into its tail.
int write_into_older_tail(Instance& i, int rc, const dmaudit_request&, dmaudit_block& b)
{
    if (rc != DMAUDIT_OK || !b.cpu)
        return rc;
    if (i.first.cpu && i.first.granted > i.first.size)
        static_cast<uint8_t*>(i.first.cpu)[i.first.granted - 1] ^= 0xff;
    i.first = b;
    return rc;
}

} // namespace

const Defect crash_defects[crash_defect_count] = {
    {.name = "broken-segfault-in-free",
     .summary = "accesses memory that is not there when a block is freed",
     .promises_too = DMAUDIT_TRAIT_MAY_ABORT,
     .before_free = [](Instance&) { *reinterpret_cast<volatile int*>(nowhere) = 1; }},
    {.name = "broken-abort-in-unmap",
     .summary = "aborts at the second unmap",
     .promises_too = DMAUDIT_TRAIT_MAY_ABORT,
     .before_unmap =
         [](Instance& i) {
             if (++i.count == 2)
                 std::abort();
         }},
    {.name = "broken-loop-in-alloc",
     .summary = "searches for ever when a block of several pages is wanted",
     .promises_too = DMAUDIT_TRAIT_MAY_ABORT,
     .before_alloc =
         [](Instance& i, dmaudit_request& r, dmaudit_block&) {
             while (r.size > i.real->page && searching)
                 ;
             return false;
         }},
    {.name = "broken-cleans-for-ever",
     .summary = "writes a line back again and again when a mapping is synced for the device",
     .promises_too = DMAUDIT_TRAIT_MAY_ABORT,
     .clean =
         [](Instance& i, dmaudit_range& r) {
             while (i.call == Call::sync_for_device)
                 i.real->clean(i.real->self, r.phys, r.size);
             return true;
         }},
    {.name = "broken-exit-in-close",
     .summary = "ends the process when it is closed after an allocation",
     .promises_too = DMAUDIT_TRAIT_MAY_ABORT,
     .after_alloc =
         [](Instance& i, int rc, const dmaudit_request&, dmaudit_block&) {
             i.count++;
             return rc;
         },
     .before_close =
         [](Instance& i) {
             if (i.count)
                 std::exit(0);
         }},
    {.name = "broken-counts-instances",
     .summary = "every other instance refuses its first block",
     .prepare = [](Instance&) { opened++; },
     .after_alloc =
         [](Instance& i, int rc, const dmaudit_request&, dmaudit_block& b) {
             if (rc != DMAUDIT_OK || opened % 2 || i.count++)
                 return rc;
             builtin_provider().coherent->free(i.ctx, &b);
             return static_cast<int>(DMAUDIT_ENOMEM);
         }},
    {.name = "broken-links-through-tails",
     .summary = "keeps a link in the tail of the block before the last one",
     .after_alloc = write_into_older_tail,
     .after_free =
         [](Instance& i, const dmaudit_block& b) {
             if (i.first.cpu == b.cpu)
                 i.first = {};
         }},
};

} // namespace dmaudit::broken
