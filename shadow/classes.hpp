// What can go wrong with memory that devices use, as two lists with numbers that our rules answer to: 42 classes of
// error, and 20 invariants of a DMA allocator and mapping layer. A map, not a mechanism: nothing is judged by it.
#pragma once
#include "shadow/rules.hpp"

#include <span>

namespace dmaudit {

struct ErrorClass {
    uint8_t number; // 1..42
    std::string_view title;
    std::string_view rules;  // names of the rules that find it, comma separated; may be empty if it is documented
    std::string_view answer; // why it, or a part of it, has no rule; empty: it is covered
    std::string_view
        cases; // that break one of the rules in the way of the class: below corpus/regressions, without .dma
};
struct Invariant {
    uint8_t number; // 1..20
    std::string_view text;
    std::string_view rules;
    std::string_view cases;
};

std::span<const ErrorClass> error_classes();
std::span<const Invariant> invariants();

// Bit n: class n, invariant n.
uint64_t classes_of(RuleId);
uint32_t invariants_of(RuleId);
// Calls f(name) for each name of a list as above.
template <class F> void for_each_name(std::string_view list, F f)
{
    while (!list.empty()) {
        const size_t comma = list.find(',');
        f(list.substr(0, comma));
        list.remove_prefix(comma == list.npos ? list.size() : comma + 2); // ", "
    }
}

} // namespace dmaudit
