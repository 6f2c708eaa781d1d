#include "shadow/protocol.hpp"

#include "shadow/protocol_model.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace dmaudit {
namespace {

using enum Event;
using R = RuleId;

std::vector<Event> all_events()
{
    std::vector<Event> v;
    for (size_t e = 0; e < event_count; e++)
        v.push_back(static_cast<Event>(e));
    return v;
}

R rule_at(Event e, uint8_t code)
{
    return static_cast<R>(transition(e).rule[code]);
}
uint8_t next_at(Event e, uint8_t code)
{
    return transition(e).next[code];
}
std::string where(Event e, uint8_t code)
{
    return std::string(event_name(e)) + " in " + std::string(state_name(code)) + (is_initialised(code) ? " i1" : " i0");
}

// Codes that legal events reach from bytes that are nobody's.
std::set<uint8_t> reachable()
{
    std::set<uint8_t> seen{code_of(N)};
    std::vector<uint8_t> open{code_of(N)};
    while (!open.empty()) {
        const uint8_t from = open.back();
        open.pop_back();
        const auto visit = [&](uint8_t to) {
            if (seen.insert(to).second)
                open.push_back(to);
        };
        for (const Event e : all_events())
            if (rule_at(e, from) == R::none)
                visit(next_at(e, from));
        // Where several mappings cover a byte, unmap leaves it to the registry: with one left it is that one's.
        const uint8_t init = from & initialised;
        if (state_bit(from) == M_d)
            visit(code_of(Hto_d) | init);
        if (state_bit(from) == M_c)
            for (const State s : {Dto, Hto_c})
                visit(code_of(s) | init);
    }
    return seen;
}

// ---- codes

TEST(States, EveryDeclaredStateHasItsOwnCode)
{
    std::set<uint8_t> codes;
    for (unsigned i = 0; i < state_count; i++) {
        const auto s = static_cast<State>(1u << i);
        EXPECT_TRUE(codes.insert(code_of(s)).second) << i;
        EXPECT_EQ(state_bit(code_of(s)), s);
        EXPECT_EQ(state_bit(code_of(s) | initialised), s);
        EXPECT_NE(code_of(s) | initialised, mixed);
    }
    EXPECT_EQ(state_bit(mixed), 0u);
    EXPECT_EQ(state_bit(0x7f), 0u);
}

TEST(States, AreThoseOfTheModel)
{
    for (unsigned c = 0; c < 256; c++)
        EXPECT_EQ(state_bit(static_cast<uint8_t>(c)) != 0, model::declared(model::byte(static_cast<uint8_t>(c)))) << c;
}

TEST(States, NamesAndTextsAreDistinct)
{
    std::set<std::string_view> names, texts;
    for (unsigned i = 0; i < state_count; i++) {
        const uint8_t c = code_of(static_cast<State>(1u << i));
        EXPECT_TRUE(names.insert(state_name(c)).second) << state_name(c);
        EXPECT_TRUE(texts.insert(state_text(c)).second) << state_text(c);
        EXPECT_EQ(state_name(c), state_name(c | initialised));
    }
    EXPECT_EQ(state_name(mixed), state_name(0x7f));
    EXPECT_FALSE(names.count(state_name(mixed)));
}

// ---- the table

TEST(Protocol, AgreesWithTheModelEverywhere)
{
    unsigned compared = 0;
    for (unsigned c = 0; c < 256; c++) {
        const auto code = static_cast<uint8_t>(c);
        if (!model::declared(model::byte(code)))
            continue;
        for (const Event e : all_events()) {
            const model::Outcome expected = model::Protocol(model::byte(code)).on(e);
            EXPECT_EQ(rule(rule_at(e, code)).name, rule(expected.rule).name) << where(e, code);
            EXPECT_EQ(int{next_at(e, code)}, int{model::code(expected.then)})
                << where(e, code) << ": " << state_name(next_at(e, code)) << ", by the model "
                << state_name(model::code(expected.then));
            compared++;
        }
    }
    EXPECT_EQ(compared, 2 * state_count * event_count);
}

TEST(Protocol, RowsOfAnEventAreDisjointAndCoverEveryState)
{
    std::map<std::pair<size_t, unsigned>, unsigned> hits; // event, state index * 2 + init
    for (const Row& row : protocol_rows()) {
        EXPECT_NE(row.states, 0u);
        EXPECT_EQ(row.states >> state_count, 0u);
        EXPECT_EQ(row.next & (row.next - 1), 0u) << event_name(row.event); // one state, or none
        for (unsigned i = 0; i < state_count; i++)
            for (unsigned init = 0; init < 2; init++)
                if ((row.states >> i & 1) && !(row.init == Row::only_0 && init) && !(row.init == Row::only_1 && !init))
                    hits[{static_cast<size_t>(row.event), i * 2 + init}]++;
    }
    for (const Event e : all_events())
        for (unsigned i = 0; i < 2 * state_count; i++) {
            const auto found = hits.find({static_cast<size_t>(e), i});
            const unsigned n = found == hits.end() ? 0 : found->second;
            EXPECT_EQ(n, 1u) << event_name(e) << " in " << state_name(code_of(static_cast<State>(1u << i / 2)));
        }
}

TEST(Protocol, ARowThatBreaksARuleChangesNothing)
{
    for (const Row& row : protocol_rows())
        if (row.rule != R::none) {
            EXPECT_EQ(row.next, 0u) << event_name(row.event);
            EXPECT_EQ(row.then, Row::keep) << event_name(row.event);
        }
    for (unsigned c = 0; c < 256; c++)
        for (const Event e : all_events())
            if (rule_at(e, static_cast<uint8_t>(c)) != R::none) {
                EXPECT_EQ(next_at(e, static_cast<uint8_t>(c)), c) << where(e, static_cast<uint8_t>(c));
            }
}

TEST(Protocol, UndeclaredCodesAreNeverSilent)
{
    unsigned undeclared = 0;
    for (unsigned c = 0; c < 256; c++) {
        const auto code = static_cast<uint8_t>(c);
        if (state_bit(code))
            continue;
        undeclared++;
        for (const Event e : all_events()) {
            EXPECT_EQ(rule_at(e, code), R::auditor_exhausted) << event_name(e) << ' ' << c;
            EXPECT_EQ(next_at(e, code), code) << event_name(e) << ' ' << c;
        }
    }
    EXPECT_EQ(undeclared, 256 - 2 * state_count);
}

TEST(Protocol, NeverProducesTheMarkOfTheMap)
{
    for (unsigned c = 0; c < 256; c++)
        for (const Event e : all_events())
            if (c != mixed) {
                EXPECT_NE(next_at(e, static_cast<uint8_t>(c)), mixed) << event_name(e) << ' ' << c;
            }
}

TEST(Protocol, EventsHaveNames)
{
    std::set<std::string_view> names;
    for (const Event e : all_events()) {
        EXPECT_FALSE(event_name(e).empty());
        EXPECT_TRUE(names.insert(event_name(e)).second) << event_name(e);
    }
}

// ---- what can be reached

TEST(Protocol, LegalEventsLeadToDeclaredStatesOnly)
{
    for (const uint8_t c : reachable())
        EXPECT_NE(state_bit(c), 0u) << int{c};
}

TEST(Protocol, EveryDeclaredStateCanBeReached)
{
    uint32_t states = 0;
    for (const uint8_t c : reachable())
        states |= state_bit(c);
    EXPECT_EQ(states, (1u << state_count) - 1);
}

// A byte with the mappings over it: what the registry knows beside the table. Sets of mappings, a bit each.
struct Covered {
    uint8_t code;
    unsigned live, held; // held: which of the live ones have it with the CPU; kept only under two or more
    friend auto operator<=>(const Covered&, const Covered&) = default;
};

// With up to four mappings at once, each synced and unmapped for itself, in any order: no legal sequence of events leads
// to a code that is not declared, and the state always fits the number of mappings. Under two or more only M occurs, for
// which one more makes no difference; so four stand for any number.
TEST(Protocol, ClosureUnderEventsOfSeveralMappings)
{
    constexpr unsigned most = 4;
    const auto legal = [](Event e, uint8_t code) { return rule_at(e, code) == R::none; };
    const auto mapped = [](uint8_t code) {
        return (state_bit(code) & (Hto | Hwritable | Dto | Dfrom | Dbi | M_any)) != 0;
    };
    std::set<Covered> seen{{code_of(N), 0, 0}};
    std::vector<Covered> open(seen.begin(), seen.end());
    uint64_t edges = 0, refused = 0;
    const auto visit = [&](Covered to) {
        edges++;
        if (seen.insert(to).second)
            open.push_back(to);
    };
    while (!open.empty()) {
        const Covered at = open.back();
        open.pop_back();
        const auto n = static_cast<unsigned>(__builtin_popcount(at.live));
        const bool several = n > 1;
        for (const Event e : all_events()) {
            const bool map = e >= map_to && e <= map_skip_bi;
            const bool skip = e >= map_skip_to && e <= map_skip_bi;
            const bool noncoherent = e >= alloc_noncoherent_to && e <= alloc_noncoherent_bi; // a mapping by itself
            const bool of_mapping = e >= sync_for_cpu && e <= unmap_tail;
            if (!legal(e, at.code)) {
                refused++;
                continue;
            }
            const uint8_t next = next_at(e, at.code);
            if (map) {
                for (unsigned i = 0; i < most; i++) {
                    if (at.live >> i & 1)
                        continue;
                    Covered to{next, at.live | 1u << i, at.held};
                    if (n == 1) // now there are two: was it with the CPU under the first?
                        to.held = owner_of(at.code) == Owner::cpu ? at.live : 0u;
                    if (n >= 1 && skip && (state_bit(next) == M_d)) // dirty lines stay with the CPU, in every mapping
                        to.held = to.live;
                    visit(to);
                }
            } else if (of_mapping && !several) {
                // The first or only one: the table says it all. No live mapping, no such call.
                if (n == 1)
                    visit({next, e >= unmap ? 0u : at.live, 0});
            } else if (of_mapping) {
                for (unsigned i = 0; i < most; i++) {
                    const unsigned bit = 1u << i;
                    if (!(at.live & bit))
                        continue;
                    if (e == sync_for_cpu)
                        visit({next, at.live, at.held | bit});
                    else if (e == sync_for_device)
                        visit({next, at.live, at.held & ~bit});
                    else if (n > 2)
                        visit({next, at.live & ~bit, at.held & ~bit});
                    else { // one is left: it is that one's, held or not
                        const unsigned left = at.live & ~bit;
                        const uint8_t init = at.code & initialised;
                        const State s = !(at.held & left) ? Dto : state_bit(at.code) == M_d ? Hto_d : Hto_c;
                        visit({static_cast<uint8_t>(code_of(s) | init), left, 0});
                    }
                }
            } else if (e == cpu_write && several) {
                if (at.held == at.live) // the registry checks
                    visit({next, at.live, at.held});
            } else if (noncoherent)
                visit({next, 1, 0});
            else if (e == noncoherent_free)
                visit({next, 0, 0});
            else
                visit({next, at.live, at.held});
        }
    }
    uint32_t states = 0;
    std::set<uint8_t> codes;
    for (const Covered& c : seen) {
        const auto n = static_cast<unsigned>(__builtin_popcount(c.live));
        codes.insert(c.code);
        states |= state_bit(c.code);
        ASSERT_NE(state_bit(c.code), 0u) << int{c.code};
        EXPECT_EQ(n > 0, mapped(c.code)) << state_name(c.code) << " under " << n << " mappings";
        EXPECT_EQ(n > 1, (state_bit(c.code) & M_any) != 0) << state_name(c.code) << " under " << n << " mappings";
        if (state_bit(c.code) == M_d) {
            EXPECT_EQ(c.held, c.live) << "the CPU wrote what a device holds";
        }
    }
    EXPECT_EQ(states, (1u << state_count) - 1);
    EXPECT_EQ(codes, reachable());
    std::printf("the protocol: %u of %u declared states are reached, as %zu codes; with up to %u mappings %zu "
                "situations, %llu legal events, %llu that break a rule\n",
                static_cast<unsigned>(__builtin_popcount(states)), state_count, codes.size(), most, seen.size(),
                static_cast<unsigned long long>(edges), static_cast<unsigned long long>(refused));
}

// A byte that somebody wrote is initialised, and one whose value may have been lost is not: these codes do not occur.
TEST(Protocol, SomeStatesHaveOneInitialisedBit)
{
    std::map<std::string, std::string> only; // state -> the only bit it occurs with
    const std::set<uint8_t> codes = reachable();
    for (unsigned i = 0; i < state_count; i++) {
        const uint8_t c = code_of(static_cast<State>(1u << i));
        const bool zero = codes.count(c) != 0, one = codes.count(c | initialised) != 0;
        if (zero != one)
            only[std::string(state_name(c))] = zero ? "0" : "1";
    }
    const std::map<std::string, std::string> expected{{"N", "0"},      {"P", "0"}, // nobody's value
                                                      {"C.s", "0"}, // the CPU does not see what the device wrote
                                                      {"C.d", "1"},    {"H.to.d", "1"}, {"H.from.d", "1"},
                                                      {"H.bi.d", "1"}, {"M.d", "1"},
                                                      {"X.d", "1"},    {"OX.d", "1"}}; // just written
    EXPECT_EQ(only, expected);
}

// Each rule that the table names can be met by a client or provider that did nothing wrong before.
TEST(Protocol, EveryRuleItNamesCanBeReached)
{
    std::set<R> named, met;
    for (const Row& row : protocol_rows())
        named.insert(row.rule);
    for (const uint8_t c : reachable())
        for (const Event e : all_events())
            met.insert(rule_at(e, c));
    EXPECT_EQ(named, met);
}

// Rules that no byte's state can tell, and who does.
TEST(Protocol, TheOtherRulesAreJudgedElsewhere)
{
    enum Where { registry, order, lines, after_the_call, machine, runner, tool };
    const std::map<R, Where> elsewhere{// names, sizes, devices, directions: asked before the table
                                       {R::free_mismatch, registry},
                                       {R::wrong_device, registry},
                                       {R::wrong_direction, registry},
                                       {R::bad_length, registry},
                                       {R::sync_without_effect, registry},
                                       {R::use_after_release, registry},
                                       {R::wrong_identity, registry},
                                       {R::wrong_count, registry},
                                       {R::unchecked_mapping_error, registry},
                                       {R::unmappable_memory, registry},
                                       // what was before it, since a barrier or a change of context
                                       {R::missing_barrier, order},
                                       {R::double_fetch, order},
                                       {R::unchecked_index, order},
                                       {R::sleeps_in_atomic, order},
                                       // bytes of one line together: asked after the table
                                       {R::shared_cache_line, lines},
                                       {R::invalidate_destroys_neighbour, lines},
                                       // what the provider returned, and what is in memory then
                                       {R::misaligned, after_the_call},
                                       {R::beyond_limit, after_the_call},
                                       {R::crosses_boundary, after_the_call},
                                       {R::wrong_translation, after_the_call},
                                       {R::short_block, after_the_call},
                                       {R::not_zeroed, after_the_call},
                                       {R::leaks_old_data, after_the_call},
                                       {R::corrupts_neighbour, after_the_call},
                                       {R::lost_capacity, after_the_call},
                                       {R::spurious_failure, after_the_call},
                                       {R::failure_has_effect, after_the_call},
                                       {R::wrong_return, after_the_call},
                                       {R::missing_clean, after_the_call},
                                       {R::missing_invalidate, after_the_call},
                                       {R::stale_bounce, after_the_call},
                                       {R::mmap_window, after_the_call},
                                       {R::not_coherent, after_the_call},
                                       {R::still_reachable, after_the_call},
                                       {R::teardown_order, after_the_call},
                                       {R::never_released, after_the_call},
                                       {R::released_twice, after_the_call},
                                       {R::released_early, after_the_call},
                                       {R::metadata_exposed, after_the_call},
                                       {R::excess_rights, after_the_call},
                                       {R::exposes_neighbour, after_the_call},
                                       // by running the case in a child, or again
                                       {R::provider_crash, runner},
                                       {R::not_deterministic, runner},
                                       // told by the cache and the locks
                                       {R::dirty_eviction, machine},
                                       {R::no_progress, machine},
                                       {R::auditor_exhausted, tool}};
    std::set<R> named;
    for (const Row& row : protocol_rows())
        named.insert(row.rule);
    for (const Rule& r : rules())
        EXPECT_NE(named.count(r.id), elsewhere.count(r.id)) << r.name;
}

// Rows that no op reaches as long as the registry is asked first. They stay, so that a wrong registry is no silent one.
TEST(Protocol, SomeRowsOnlyGuardTheRegistry)
{
    for (const Event e : {sync_for_cpu, sync_for_device, unmap, unmap_skip, unmap_tail})
        for (const State s : {N, P, C_c, C_d, C_s, S, PAD}) // a live mapping's bytes are in none of these
            EXPECT_NE(rule_at(e, code_of(s)), R::none) << where(e, code_of(s));
    for (const Event e : {device_read, device_write})
        for (const State s : {N, P, C_c, C_d, C_s, PAD})
            EXPECT_EQ(rule_at(e, code_of(s)), R::device_access_denied) << where(e, code_of(s));
}

// ---- stories of one byte

struct Story {
    const char* name;
    std::vector<Event> events;
    R last = R::none; // the last event breaks this rule; all before it are legal
};

TEST(Protocol, Stories)
{
    const Story stories[] = {
        {"the CPU may read what a device only reads", {cpu_write, map_to, cpu_read}},
        {"written after the map, then synced", {map_to, cpu_write, sync_for_device, device_read}},
        {"written after the map, not synced", {cpu_write, map_to, cpu_write, device_read}, R::dirty_device_read},
        {"written after the map, unmapped: the value stays", {map_to, cpu_write, unmap, cpu_read}},
        {"read before the device wrote", {map_from, cpu_read}, R::cpu_read_of_device_bytes},
        {"read after the device wrote", {map_from, device_write, cpu_read}, R::cpu_read_of_device_bytes},
        {"written by both", {map_from, cpu_write}, R::cpu_write_of_device_bytes},
        {"synced for the CPU and unmapped", {cpu_write, map_bi, sync_for_cpu, cpu_read, unmap, cpu_read}},
        {"unmapped with a write not handed over", {map_bi, sync_for_cpu, cpu_write, unmap}, R::sync_discards_write},
        {"the same from_device", {map_from, sync_for_cpu, cpu_write, unmap}, R::sync_discards_write},
        {"the same without cache work", {map_from, sync_for_cpu, cpu_write, unmap_skip, cpu_read}},
        {"written into a from_device mapping: indeterminate",
         {map_from, sync_for_cpu, cpu_write, sync_for_device, unmap, cpu_read},
         R::read_of_unwritten},
        {"synced for the CPU twice", {map_bi, sync_for_cpu, sync_for_cpu}},
        {"synced for the CPU over its own write",
         {map_bi, sync_for_cpu, cpu_write, sync_for_cpu},
         R::sync_discards_write},
        {"synced for the device twice", {map_bi, sync_for_device, sync_for_device}},
        {"handed on without being fetched", {map_bi, device_write, sync_for_device}, R::sync_discards_write},
        {"from_device it does no harm",
         {map_from, device_write, sync_for_device, sync_for_cpu, cpu_read, unmap, cpu_read}},
        {"unwritten bytes keep their value", {cpu_write, map_to, unmap, map_from, unmap, cpu_read}},
        {"unless the CPU had not handed them over", {cpu_write, map_from, unmap, cpu_read}, R::read_of_unwritten},
        {"and the provider does not keep them", {cpu_write, map_from_keeps, unmap, cpu_read}},
        {"never written", {map_from, unmap, cpu_read}, R::read_of_unwritten},
        {"mapped without cache work, clean", {cpu_write, map_to, unmap, map_skip_to, device_read}},
        {"mapped without cache work, dirty, then synced", {cpu_write, map_skip_to, sync_for_device, device_read}},
        {"mapped without cache work, dirty", {cpu_write, map_skip_to, device_read}, R::dirty_device_read},
        {"unmapped without a hand-over", {map_from, device_write, unmap_skip, cpu_read}, R::stale_cpu_read},
        {"that, then overwritten", {map_from, device_write, unmap_skip, cpu_write, cpu_read}},
        {"that, then mapped and synced", {map_from, device_write, unmap_skip, map_skip_from, sync_for_cpu, unmap}},
        {"that, unwritten", {cpu_write, map_to, unmap, map_from, unmap_skip, cpu_read}},
        {"past the used bytes, written after all",
         {map_from, device_write, unmap_tail, cpu_read},
         R::read_of_unwritten},
        {"past the used bytes, untouched", {cpu_write, map_from_keeps, unmap_tail, cpu_read}},
        {"with the CPU, written", {map_bi, sync_for_cpu, cpu_write, device_read}, R::dirty_device_read},
        {"with the CPU, not written", {map_bi, sync_for_cpu, device_read}, R::device_access_denied},
        {"with the CPU, written by the device", {map_bi, sync_for_cpu, device_write}, R::device_access_denied},
        {"written against the direction", {map_to, device_write}, R::device_wrong_direction},
        {"even while the CPU holds it", {map_to, sync_for_cpu, device_write}, R::device_wrong_direction},
        {"read against the direction", {cpu_write, map_from, device_read}, R::device_wrong_direction},
        {"unwritten bytes read by the device", {map_bi, device_read}, R::uninitialised_to_device},
        {"freed while mapped", {map_to, buffer_free}, R::free_while_mapped},
        {"freed twice", {buffer_free, buffer_free}, R::double_free},
        {"unmapped twice", {map_to, unmap, unmap}, R::use_after_unmap},
        {"mapped twice, read by both", {cpu_write, map_to, map_to, device_read, cpu_read}},
        {"mapped under a writing device", {map_from, map_to}, R::overlapping_mapping},
        {"mapped over reading devices", {map_to, map_bi}, R::overlapping_mapping},
        {"own writes dropped", {cpu_write, invalidate, cpu_read}, R::read_of_unwritten},
        {"own writes flushed first", {cpu_write, flush_invalidate, cpu_read}},
        {"flushed, not handed over", {map_to, cpu_write, flush, device_read}, R::dirty_device_read},
    };
    for (const Story& story : stories) {
        uint8_t byte = next_at(buffer_alloc, code_of(N));
        for (size_t i = 0; i < story.events.size(); i++) {
            const bool last = i + 1 == story.events.size();
            const R expected = last ? story.last : R::none;
            EXPECT_EQ(rule(rule_at(story.events[i], byte)).name, rule(expected).name)
                << story.name << ": " << where(story.events[i], byte);
            byte = next_at(story.events[i], byte);
        }
    }
}

TEST(Protocol, StoriesOfCoherentBytes)
{
    const Story stories[] = {
        {"zeroed bytes can be read by all", {alloc_zeroed, cpu_read, device_read, device_write, cpu_write, block_free}},
        {"others only when written", {alloc_plain, cpu_read}, R::read_of_unwritten},
        {"by the device, too", {alloc_plain, device_read}, R::uninitialised_to_device},
        {"no syncs in between", {alloc_plain, cpu_write, device_read, device_write, cpu_read}},
        {"mapped", {alloc_zeroed, map_to}, R::wrong_kind},
        {"freed as a buffer", {alloc_zeroed, buffer_free}, R::wrong_kind},
        {"handed out twice", {alloc_zeroed, alloc_zeroed}, R::overlap},
        {"handed out twice, as a tail", {alloc_zeroed, alloc_tail}, R::overlap},
        {"read after its end", {alloc_zeroed, block_free, cpu_read}, R::use_after_free},
        {"freed twice", {alloc_zeroed, block_free, block_free}, R::double_free},
        {"the tail by pointer", {alloc_tail, cpu_read}, R::out_of_bounds},
        {"the tail by window", {alloc_tail, window_read, window_write, block_free}},
        {"the tail by the device", {alloc_tail, device_write}, R::device_access_denied},
        {"the pool goes first", {alloc_plain, pool_release}, R::leak},
        {"the pool goes last", {alloc_plain, block_free, pool_release}},
        {"the pool goes twice", {pool_release, pool_release}, R::double_free},
    };
    for (const Story& story : stories) {
        uint8_t byte = next_at(pool_declare, code_of(N));
        for (size_t i = 0; i < story.events.size(); i++) {
            const R expected = i + 1 == story.events.size() ? story.last : R::none;
            EXPECT_EQ(rule(rule_at(story.events[i], byte)).name, rule(expected).name)
                << story.name << ": " << where(story.events[i], byte);
            byte = next_at(story.events[i], byte);
        }
    }
}

} // namespace
} // namespace dmaudit
