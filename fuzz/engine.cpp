#include "fuzz/engine.hpp"

#include "fuzz/feedback.hpp"
#include "fuzz/plain.hpp"
#include "harness/binary.hpp"
#include "harness/report.hpp"
#include "harness/rng.hpp"
#include "harness/text.hpp"
#include "shadow/asan.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fmt/core.h>

// Of the engine, where there is one. Other engines than libFuzzer have an LLVMFuzzerMutate that does nothing or ends
// the campaign, so it alone proves nothing.
extern "C" {
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max);
__attribute__((weak)) void __libfuzzer_is_present();
}

namespace dmaudit::fuzz {
namespace {

// libFuzzer takes every bit in this section as a feature of the input. The harness is not instrumented for coverage, so
// this is how the fuzzer learns about the protocol.
#ifdef __linux__
#define EXTRA_COUNTERS __attribute__((section("__libfuzzer_extra_counters")))
#else
#define EXTRA_COUNTERS
#endif
EXTRA_COUNTERS uint8_t cells[Auditor::cell_count];
EXTRA_COUNTERS volatile uint8_t
    ran; // always 1: with a provider that is not instrumented, the empty input has to show something

Watch watched;
Case current; // 9 KiB, not to be cleared for each input

bool swarm = true;

const Intake& intake(const Target& t)
{
    static const Intake made = [&] {
        Intake i = intake_of(t);
        i.swarm = swarm;
        return i;
    }();
    return made;
}

// A client's byte that nobody may touch was touched outside of an audited access: AddressSanitizer says where, this
// says why, in the words that triage reads.
#ifdef DMAUDIT_ASAN
Session* audited = nullptr;

void relabel(const char*)
{
    const Machine& machine = audited->machine();
    const auto* at = static_cast<const uint8_t*>(__asan_get_report_address());
    if (!audited->is_open() || at < machine.client() || at >= machine.client() + machine.ram_size())
        return;
    const auto offset = static_cast<uint64_t>(at - machine.client());
    const uint8_t state = audited->auditor().map().at(offset);
    const bool write = __asan_get_report_access_type() != 0;
    const Rule& broken = rule(static_cast<RuleId>(transition(write ? Event::cpu_write : Event::cpu_read).rule[state]));
    if (watched.progress)
        watched.progress->record({broken.id, state, static_cast<uint8_t>(op_count)});
    const std::string text =
        fmt::format("\ndmaudit.cc:1: ASSERTION FAILED: dmaudit {0} {1}->raw_{2}\nDEDUP_TOKEN: {0}--{1}--raw_{2}\n\n"
                    "{3}\n  a {2} past the auditor, of the client's byte at physical address {4:#x}\n  state   {1}: "
                    "{5}\n\n  the case:\n\n{6}",
                    broken.name, state_name(state), write ? "write" : "read", broken.meaning, machine.phys_of(offset),
                    state_text(state), print(current));
    std::fputs(text.c_str(), stderr);
}
#endif

Session& session()
{
    static Session s;
#ifdef DMAUDIT_ASAN
    if (!audited) {
        audited = &s;
        __asan_set_error_report_callback(relabel);
    }
#endif
    return s;
}

[[noreturn]] void stop(const std::string& text)
{
    if (watched.quiet) // what the page does not tell is a failure of its own
        std::_Exit(watched.progress->state == Progress::found ? 0 : 3);
    std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
    std::abort();
}

[[noreturn]] void stop_at(const Target& t, const Case& c, const Result& r, const dmaudit_provider& provider)
{
    const std::string replay = fmt::format(
        "{} FILE with the bytes, or `dmaudit run --provider {} CASE.dma` with this text:", t.name, provider.name);
    stop(fmt::format("{}\n{}", report(c, r, provider, session(), {false, replay}), print(c)));
}

bool same(const Result& a, const Result& b)
{
    if (a.step != b.step || a.open_error != b.open_error || a.violation.has_value() != b.violation.has_value())
        return false;
    return !a.violation || (a.violation->rule == b.violation->rule && a.violation->state == b.violation->state &&
                            a.violation->bytes == b.violation->bytes && a.violation->object == b.violation->object);
}

// A case decides what it does, whatever ran before. One case of 16, chosen by its bytes, is run twice.
void check_determinism(const Case& c, const Result& first, std::span<const uint8_t> bytes,
                       const dmaudit_provider& provider)
{
    unsigned sum = 0;
    for (const uint8_t b : bytes)
        sum += b;
    if (sum % 16)
        return;
    std::array<uint8_t, Auditor::cell_count> again{};
    const Result second = execute(c, provider, session(), nullptr, again.data());
    if (!same(first, second) || std::memcmp(again.data(), cells, sizeof cells) != 0)
        stop("dmaudit.cc:1: ASSERTION FAILED: dmaudit the same case ran differently\n"
             "DEDUP_TOKEN: not-deterministic--none--end\n\n" +
             print(c));
}

void run_judged(const Case& c)
{
    const auto key = watched.judge->run(c, cells);
    watched.canary.look(*watched.progress);
    if (!key)
        return;
    watched.progress->record(*key);
    stop(key_lines(*key) + print(c));
}

} // namespace

void run(const Target& t, std::span<const uint8_t> bytes, const dmaudit_provider& provider)
{
    Case& c = current;
    plain_decode(bytes, intake(t), c);
    std::memset(cells, 0, sizeof cells);
    ran = 1;
    if (watched.progress)
        watched.progress->executions++;
    if (watched.judge)
        return run_judged(c);
    const Result r = execute(c, provider, session(), nullptr, cells);
    tell_engine(cells);
    if (watched.progress)
        watched.canary.look(*watched.progress);
    if (r.violation && counts(c, *r.violation)) {
        if (watched.progress)
            watched.progress->record(key_of(c, r));
        if (watched.quiet)
            std::_Exit(0);
        stop_at(t, c, r, provider);
    }
    if (c.world.mode == Mode::hostile)
        check_determinism(c, r, bytes, provider);
}

void watch(const Watch& w)
{
    watched = w;
}

void use_swarm(bool on)
{
    swarm = on;
}

size_t mutate_bytes(const Target& t, uint8_t* data, size_t size, size_t max, unsigned seed)
{
    size = std::min(size, max);
    Rng rng(seed);
    if (rng.chance(1, 8) && __libfuzzer_is_present &&
        LLVMFuzzerMutate) { // its dictionaries and comparisons act only here
        const size_t count = size / cell_bytes;
        if (count < 2 || rng.chance(1, 2))
            return LLVMFuzzerMutate(data, size, max);
        // The payload of one op: the first cell is the world, and the first byte of each other one names the op.
        uint8_t* payload = data + (1 + rng.below(count - 1)) * cell_bytes + 1;
        LLVMFuzzerMutate(payload, cell_bytes - 1, cell_bytes - 1);
        return size;
    }
    const size_t n = plain_mutate(data, size, max, intake(t), rng.next());
    return n ? n : size;
}

size_t crossover_bytes(const Target& t, std::span<const uint8_t> a, std::span<const uint8_t> b, uint8_t* out,
                       size_t max, unsigned seed)
{
    if (const size_t n = plain_crossover(a, b, out, max, intake(t), seed))
        return n;
    const size_t n = std::min(a.size(), max);
    std::copy_n(a.data(), n, out);
    return n;
}

std::span<const uint8_t> transitions()
{
    return cells;
}

} // namespace dmaudit::fuzz

#ifdef DMAUDIT_ASAN
// A provider's memory lives no longer than its case: a small quarantine sees every use after free, and saves a tenth of
// the time.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options()
{
    return "quarantine_size_mb=1";
}
#endif
