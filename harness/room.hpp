// A small specification of room: what must an allocator not refuse? Called after a request that was not served, or not
// from where it should have been; where the provider promises nothing of the kind they say nothing.
#pragma once
#include "harness/session.hpp"

namespace dmaudit {

// DMAUDIT_PROMISES_FIRST_FIT, or COMPLETE for a request that names more than a size: the pool has a free aligned run of
// pages that meets the request.
void check_pool(Session&, Tag pool, const dmaudit_request&);
// DMAUDIT_PROMISES_LOWEST_RUN: a block that a pool gave lies in the lowest one.
void check_place(Session&, Tag block, const dmaudit_request&);
// The same as check_pool of an allocation that was refused with `rc`: from the device's pool, where pools are asked;
// with DMAUDIT_PROMISES_COMPLETE from the arenas.
void check_memory(Session&, const dmaudit_request&, int rc, bool pools = true);
// ... of a mapping: they have one in which a bounce buffer for the client's bytes could have been made.
void check_slot(Session&, const dmaudit_request&, int rc, Range original);
// ... of a mask: it leaves the device a page.
void check_mask(Session&, uint32_t device, uint64_t mask);

} // namespace dmaudit
