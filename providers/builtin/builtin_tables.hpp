// Parts of the built-in provider's table that have files of their own, and what these share with builtin.cpp.
#pragma once

#include "allocator/allocator.hpp"
#include "dmaudit/provider.h"

namespace dmaudit {

extern const dmaudit_scatter kBuiltinScatter; // builtin_scatter.cpp
extern const dmaudit_managed kBuiltinManaged; // builtin_managed.cpp
extern const dmaudit_dma_buf kBuiltinDmaBuf;  // builtin_dma_buf.cpp

// A block, as it travels through the interface and back. `flags` are the request's.
void to_interface(const alloc::Block& block, std::uint32_t flags, dmaudit_block& out) noexcept;
alloc::Block from_interface(const dmaudit_block& from) noexcept;

// Is all there that we read? A struct of another version, smaller than ours, is malformed.
template <class T> bool is_complete(const T* from) noexcept
{
    return from != nullptr && from->struct_size >= sizeof(T);
}

} // namespace dmaudit
