// A search as bytes, so that it can be interrupted. One line of text says what it is, then come 64-bit words, least
// significant byte first, and a checksum of them.
#include "harness/forked.hpp"
#include "harness/scope.hpp"
#include "harness/text.hpp"
#include "harness/verify_search.hpp"

#include <cstring>
#include <fmt/format.h>

namespace dmaudit {
namespace {

constexpr std::string_view magic = "dmaudit verify 2\n";

class Writer {
  public:
    void add(uint64_t w)
    {
        for (unsigned i = 0; i < 8; i++)
            bytes.push_back(static_cast<char>(w >> 8 * i));
        dmaudit_hash_add(sum, w);
    }
    void finish()
    {
        const uint64_t end[2] = {sum[0], sum[1]};
        add(end[0]);
        add(end[1]);
    }
    std::string bytes;
    uint64_t sum[2] = {1, 2};
};

class Reader {
  public:
    explicit Reader(std::string_view b) : bytes_(b) {}
    uint64_t get()
    {
        if (bytes_.size() < 8) {
            bad_ = true;
            return 0;
        }
        uint64_t w = 0;
        for (unsigned i = 0; i < 8; i++)
            w |= uint64_t{static_cast<uint8_t>(bytes_[i])} << 8 * i;
        bytes_.remove_prefix(8);
        return w;
    }
    // A count of things of so many words that are still to come.
    uint64_t count(uint64_t words)
    {
        const uint64_t n = get();
        if (n > bytes_.size() / (8 * words))
            bad_ = true;
        return bad_ ? 0 : n;
    }
    bool bad() const { return bad_; }
    bool at_end() const { return bytes_.empty(); }

  private:
    std::string_view bytes_;
    bool bad_ = false;
};

bool whole(std::string_view words)
{
    if (words.size() < 16 || words.size() % 8)
        return false;
    uint64_t sum[2] = {1, 2};
    Reader body(words.substr(0, words.size() - 16)), end(words.substr(words.size() - 16));
    while (!body.at_end())
        dmaudit_hash_add(sum, body.get());
    const uint64_t a = end.get(), b = end.get();
    return a == sum[0] && b == sum[1];
}

template <class W> void put(W& w, const VerifyLevel& l)
{
    for (const uint64_t v : {l.cases, l.refused, l.states, l.merged, l.violations, l.faults, l.evictions})
        w.add(v);
}

VerifyLevel get_level(Reader& r)
{
    VerifyLevel l;
    for (uint64_t* v : {&l.cases, &l.refused, &l.states, &l.merged, &l.violations, &l.faults, &l.evictions})
        *v = r.get();
    return l;
}

} // namespace

// What has to be the same for the numbers of moves to mean the same.
std::string Verifier::Search::fingerprint() const
{
    Case c;
    c.world = scope.world;
    uint64_t hash[2] = {3, 4};
    for (const std::string& text : {print(c), moves.values_text(), std::string(provider.name)})
        for (const char ch : text)
            dmaudit_hash_add(hash, static_cast<uint8_t>(ch));
    for (const uint64_t w : {uint64_t{op_count}, uint64_t{rule_count}, uint64_t{scope.most_alive},
                             uint64_t{scope.adversary}, uint64_t{result.merging}, provider.promises})
        dmaudit_hash_add(hash, w);
    return fmt::format("provider {} facet {} scope {} {:016x}{:016x}\n", provider.name, scope.facet, scope.name,
                       hash[0], hash[1]);
}

std::string Verifier::Search::save() const
{
    if (!without_batch.empty())
        return without_batch;
    Writer w;
    w.add(result.complete);
    w.add(cursor);
    w.add(result.executions);
    w.add(result.strayed);
    w.add(result.deaths);
    for (const uint64_t n : result.by_op)
        w.add(n);
    w.add(result.levels.size());
    for (const VerifyLevel& l : result.levels)
        put(w, l);
    w.add(level_from.size());
    for (const size_t at : level_from)
        w.add(at);
    w.add(nodes.size());
    for (const Node& n : nodes) {
        w.add(n.key.bits[0]);
        w.add(n.key.bits[1]);
        w.add(n.code);
        w.add(uint64_t{n.parent} << 1 | n.fails);
    }
    w.add(result.findings.size());
    for (const VerifyFinding& f : result.findings) {
        w.add(static_cast<uint64_t>(f.key.rule));
        w.add(uint64_t{f.key.state} << 8 | f.key.op);
        w.add(f.depth);
        w.add(f.cases);
        w.add(f.value.count);
        for (const Step& s : f.value.all()) {
            w.add(s.op);
            for (const uint64_t a : s.arg)
                w.add(a);
        }
    }
    w.finish();
    return std::string(magic) + fingerprint() + w.bytes;
}

std::string Verifier::Search::load(std::string_view bytes)
{
    if (!bytes.starts_with(magic))
        return "not a file of dmaudit verify";
    bytes.remove_prefix(magic.size());
    const std::string mine = fingerprint();
    const size_t line = bytes.find('\n');
    if (line == bytes.npos)
        return "the file is cut off";
    if (bytes.substr(0, line + 1) != mine)
        return fmt::format("it is of another search:\n  in the file: {}\n  asked for:   {}", bytes.substr(0, line),
                           mine.substr(0, mine.size() - 1));
    bytes.remove_prefix(line + 1);
    if (!whole(bytes))
        return "the file is damaged or cut off";

    Reader r(bytes.substr(0, bytes.size() - 16));
    Search fresh(scope, provider, limits);
    VerifyResult& to = fresh.result;
    to.complete = static_cast<unsigned>(r.get());
    fresh.cursor = r.get();
    to.executions = r.get();
    to.strayed = r.get();
    to.deaths = r.get();
    for (uint64_t& n : to.by_op)
        n = r.get();
    for (uint64_t n = r.count(7); n--;)
        to.levels.push_back(get_level(r));
    for (uint64_t n = r.count(1); n--;)
        fresh.level_from.push_back(r.get());
    for (uint64_t n = r.count(4); n--;) {
        Node node{};
        node.key.bits[0] = r.get();
        node.key.bits[1] = r.get();
        node.code = r.get();
        const uint64_t parent = r.get();
        node.parent = static_cast<uint32_t>(parent >> 1);
        node.fails = parent & 1;
        if (!fresh.nodes.empty() && node.parent >= fresh.nodes.size())
            return "the file is damaged: a state comes before its parent";
        fresh.add(node);
    }
    for (uint64_t n = r.count(5); n--;) {
        VerifyFinding f;
        f.value.world = scope.world;
        f.key.rule = static_cast<RuleId>(r.get());
        const uint64_t key = r.get();
        f.key.state = static_cast<uint8_t>(key >> 8);
        f.key.op = static_cast<uint8_t>(key);
        f.depth = static_cast<unsigned>(r.get());
        f.cases = r.get();
        f.value.expect = {Expect::violation, f.key.rule};
        for (uint64_t k = r.count(1 + max_args); k--;) {
            Step s;
            s.op = static_cast<uint8_t>(r.get());
            for (uint64_t& a : s.arg)
                a = r.get();
            f.value.push(s);
        }
        if (!case_error(f.value).empty())
            return "the file is damaged: " + case_error(f.value);
        to.findings.push_back(f);
    }
    const bool sound = !r.bad() && r.at_end() && fresh.level_from.size() >= 2 && !fresh.nodes.empty() &&
                       std::is_sorted(fresh.level_from.begin(), fresh.level_from.end()) &&
                       fresh.level_from.back() <= fresh.nodes.size() && fresh.cursor <= fresh.level_from.back() &&
                       to.complete + 2 == fresh.level_from.size() && to.levels.size() <= fresh.level_from.size();
    if (!sound)
        return "the file is damaged";
    if (!fresh.plausible())
        return "a state is reached no more as it was: the provider is not the one that the file was made with";
    nodes = std::move(fresh.nodes);
    table = std::move(fresh.table);
    level_from = std::move(fresh.level_from);
    cursor = fresh.cursor;
    result = std::move(fresh.result);
    return {};
}

// Up to 256 states, spread over all of them, are reached again.
bool Verifier::Search::plausible() const
{
    if (!result.merging)
        return true;
    const auto as_before = [&] {
        AtWork at;
        Walker w(scope, limits, moves, provider, at, deadly);
        std::vector<uint64_t> path;
        const size_t step = nodes.size() / 256 + 1;
        for (size_t i = 0; i < nodes.size(); i += step) {
            path_to(static_cast<uint32_t>(i), path);
            if (!(w.key_at(path) == nodes[i].key))
                return false;
        }
        return true;
    };
    if (!limits.isolate)
        return as_before();
    std::string said;
    run_forked(
        {}, [&](int fd) { write_all(fd, as_before() ? "yes" : "no"); }, [&](std::string_view part) { said += part; },
        [] { return false; });
    return said == "yes";
}

} // namespace dmaudit
