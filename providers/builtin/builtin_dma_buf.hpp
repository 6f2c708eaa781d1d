// The dma-buf facet of the built-in provider: an entry of its table.
#pragma once

#include "allocator/allocator.hpp"

namespace dmaudit {

extern const dmaudit_dma_buf kBuiltinDmaBuf;

// The block that a client hands back, out of its fields and cookie (builtin.cpp).
alloc::Block builtin_block(const dmaudit_block& from) noexcept;

} // namespace dmaudit
