#include "harness/verify_search.hpp"

#include <algorithm>
#include <numeric>
#include <thread>
#include <utility>

namespace dmaudit {
// What a chunk has reached, in the order of the search.
void Verifier::Search::take(const Reached& r, unsigned depth)
{
    VerifyLevel& level = result.levels[depth - 1];
    level.cases += r.counts.cases;
    level.refused += r.counts.refused;
    level.merged += r.counts.merged;
    level.faults += r.counts.faults;
    level.evictions += r.counts.evictions;
    result.executions += r.executions;
    result.strayed += r.strayed;
    result.refused_with_effect += r.refused_with_effect;
    for (size_t i = 0; i < op_count; i++)
        result.by_op[i] += r.by_op[i];
    uint64_t again = 0; // failures of states that another chunk of this batch has reached before
    for (const Reached::State& s : r.states) {
        if (result.merging && find(s.key) != nowhere) {
            level.merged++;
            again += s.fails;
            continue;
        }
        level.states++;
        add({s.key, s.code, s.parent, s.fails});
    }
    level.violations += r.counts.violations - again;
    for (const Reached::Failure& f : r.failures) {
        const auto same = [&](const VerifyFinding& known) { return known.key == f.key; };
        const auto at = std::find_if(result.findings.begin(), result.findings.end(), same);
        if (at == result.findings.end())
            result.findings.push_back({f.value, f.key, depth, f.cases});
        else
            at->cases += f.cases;
    }
}

Walker& Verifier::Search::walker(size_t i)
{
    while (walkers.size() <= i) {
        at_work.push_back(std::make_unique<AtWork>());
        walkers.push_back(std::make_unique<Walker>(scope, limits, moves, provider, *at_work.back(), deadly));
    }
    return *walkers[i];
}

void Verifier::Search::start()
{
    Reached r;
    StateKey key;
    result.levels.assign(1, {});
    bool alive = true;
    if (limits.isolate)
        alive = start_in_child(r, key);
    else
        result.open_error = walker(0).start(result.merging, key, r);
    if (result.open_error)
        return;
    take(r, 1);
    add({key, 0, 0, !alive}); // nothing comes of a dead one
    level_from = {0, 1};
}

// Chunk after chunk of those that are left, until none is.
void Verifier::Search::work(Walker& w, size_t n, const std::vector<size_t>& chunks, const Done& done)
{
    std::vector<uint64_t> path;
    for (size_t next; (next = next_chunk++) < chunks.size();) {
        const size_t c = chunks[next];
        Reached out;
        w.begin_chunk();
        for (size_t i = c * chunk; i < std::min(n, (c + 1) * chunk); i++) {
            const auto node = static_cast<uint32_t>(cursor + i);
            if (nodes[node].fails)
                continue;
            path_to(node, path);
            w.expand(path, node, nodes[node].key, result.merging ? this : nullptr, out);
        }
        done(c, out);
    }
}

bool Verifier::Search::expand_all(size_t n, std::vector<Reached>& out)
{
    if (limits.isolate)
        return expand_in_children(n, out);
    std::vector<size_t> chunks(out.size());
    std::iota(chunks.begin(), chunks.end(), 0);
    next_chunk = 0;
    const Done done = [&](size_t c, Reached& r) { out[c] = std::move(r); };
    const size_t workers = std::clamp<size_t>(limits.threads, 1, chunks.size());
    for (size_t i = 0; i < workers; i++)
        walker(i); // before there are threads
    std::vector<std::thread> others;
    for (size_t i = 1; i < workers; i++)
        others.emplace_back([&, i] { work(*walkers[i], n, chunks, done); });
    work(*walkers[0], n, chunks, done);
    for (std::thread& t : others)
        t.join();
    return true;
}

void Verifier::Search::run()
{
    using End = VerifyResult::End;
    without_batch.clear();
    if (nodes.empty())
        start();
    if (result.open_error)
        return;
    for (;;) {
        const size_t level = level_from.size() - 2;
        if (level >= limits.depth) {
            result.end = End::complete;
            return;
        }
        if (result.levels.size() <= level)
            result.levels.emplace_back();
        const auto depth = static_cast<unsigned>(level + 1);
        while (cursor < level_from[level + 1]) {
            if (limits.findings && result.findings.size() >= limits.findings)
                return void(result.end = End::findings);
            if (limits.executions && result.executions >= limits.executions)
                return void(result.end = End::executions);
            if (nodes.size() >= limits.states)
                return void(result.end = End::states);
            if (limits.stop && limits.stop())
                return void(result.end = End::stopped);
            const size_t n = std::min(batch, level_from[level + 1] - cursor);
            std::vector<Reached> out((n + chunk - 1) / chunk);
            const uint64_t deaths = result.deaths;
            const bool done = expand_all(n, out);
            if (!done) { // who goes on later does this batch again: nothing of it may be counted twice
                const uint64_t all = std::exchange(result.deaths, deaths);
                without_batch = save();
                result.deaths = all;
            }
            for (const Reached& r : out)
                take(r, depth);
            if (!done)
                return void(result.end = End::deaths);
            cursor += n;
        }
        level_from.push_back(nodes.size());
        result.complete = depth;
    }
}

Verifier::Verifier(const VerifyScope& scope, const dmaudit_provider& provider, const VerifyLimits& limits)
    : search_(std::make_unique<Search>(scope, provider, limits))
{
}

Verifier::~Verifier() = default;

const VerifyResult& Verifier::run()
{
    search_->run();
    return search_->result;
}

std::string Verifier::save() const
{
    return search_->save();
}

std::string Verifier::load(std::string_view bytes)
{
    return search_->load(bytes);
}

const VerifyResult& Verifier::result() const
{
    return search_->result;
}

VerifyLimits& Verifier::limits()
{
    return search_->limits;
}

VerifyLevel VerifyResult::total() const
{
    VerifyLevel t;
    for (const VerifyLevel& l : levels) {
        t.cases += l.cases;
        t.refused += l.refused;
        t.states += l.states;
        t.merged += l.merged;
        t.violations += l.violations;
        t.faults += l.faults;
        t.evictions += l.evictions;
    }
    return t;
}

VerifyResult verify(const VerifyScope& scope, const dmaudit_provider& provider, const VerifyLimits& limits)
{
    return Verifier(scope, provider, limits).run();
}

} // namespace dmaudit
