// The rules: named properties that must hold. Names are stable for ever; numbers are append-only (cases store them).
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dmaudit {

enum class Fault : uint8_t { provider, client, tool };

enum class RuleId : uint8_t {
    none = 0,
    // the provider's fault
    overlap,
    outside_arena,
    misaligned,
    beyond_limit,
    crosses_boundary,
    wrong_translation,
    short_block,
    not_zeroed,
    leaks_old_data,
    corrupts_neighbour,
    lost_capacity,
    spurious_failure,
    failure_has_effect,
    wrong_return,
    missing_clean,
    missing_invalidate,
    stale_bounce,
    dirty_eviction,
    mmap_window,
    not_coherent,
    no_progress,
    // the client's fault
    double_free,
    free_mismatch,
    wrong_kind,
    wrong_device,
    wrong_direction,
    leak,
    overlapping_mapping,
    shared_cache_line,
    bad_length,
    sync_outside,
    sync_without_effect,
    stale_cpu_read,
    dirty_device_read,
    cpu_read_of_device_bytes,
    cpu_write_of_device_bytes,
    device_access_denied,
    device_wrong_direction,
    dirty_line_over_device_data,
    invalidate_destroys_neighbour,
    sync_discards_write,
    free_while_mapped,
    uninitialised_to_device,
    read_of_unwritten,
    use_after_free,
    use_after_unmap,
    out_of_bounds,
    use_after_release,
    wrong_identity,
    // the tool's own
    auditor_exhausted,
    // later ones, whosever fault
    still_reachable,
    opaque_dereference,
    wrong_count,
    cpu_access_bracket,
    teardown_order,
    never_released,
    released_twice,
    released_early,
    unchecked_mapping_error,
    provider_crash,
    not_deterministic,
    metadata_exposed,
    excess_rights,
    exposes_neighbour,
    missing_barrier,
    double_fetch,
    unmappable_memory,
    sleeps_in_atomic,
    unchecked_index,
    count_
};

struct Rule {
    RuleId id;
    std::string_view name;
    Fault fault;
    uint16_t cwe;             // nearest Common Weakness Enumeration entry
    std::string_view meaning; // one line
    std::string_view advice;  // what to look for; one or two sentences
};

constexpr size_t rule_count = static_cast<size_t>(RuleId::count_);

// All rules, indexed by RuleId (entry 0 is `none`).
const std::array<Rule, rule_count>& rules();
inline const Rule& rule(RuleId id)
{
    return rules()[static_cast<size_t>(id)];
}
std::optional<RuleId> rule_named(std::string_view name);

} // namespace dmaudit
