// Makes what is committed of generated things, and checks it.
//   fuzz_seeds make CORPUS         (re)writes the seeds in CORPUS/<target>
//   fuzz_seeds check CORPUS        are they still what they were made to be?
//   fuzz_seeds describe CORPUS     what running them does, a line for each target
//   fuzz_seeds dictionary          prints the words of the text form, for fuzz_case_text
#include "fuzz/targets.hpp"
#include "harness/binary.hpp"
#include "harness/execute.hpp"
#include "harness/rng.hpp"
#include "harness/scope.hpp"
#include "harness/text.hpp"
#include "providers/builtin/builtin.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fmt/core.h>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace dmaudit::fuzz {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

constexpr unsigned seeds_of_a_target = 32, candidates = 3000, steps = 40;
constexpr size_t max_seed = 1023; // bytes
constexpr uint64_t max_seed_ram = 256 << 10;

std::string name_of_content(const Bytes& b)
{
    uint64_t h = 0xcbf29ce484222325;
    for (const uint8_t c : b)
        h = (h ^ c) * 0x100000001b3;
    return fmt::format("{:016x}", h);
}

std::vector<std::pair<std::string, Bytes>> read_folder(const fs::path& folder)
{
    std::vector<std::pair<std::string, Bytes>> all;
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(folder, ec)) {
        std::ifstream in(entry.path(), std::ios::binary);
        all.emplace_back(entry.path().filename().string(), Bytes(std::istreambuf_iterator<char>(in), {}));
    }
    std::sort(all.begin(), all.end());
    return all;
}

bool write_folder(const fs::path& folder, const std::vector<Bytes>& seeds)
{
    fs::remove_all(folder);
    fs::create_directories(folder);
    bool ok = true;
    for (const Bytes& b : seeds) {
        std::ofstream out(folder / name_of_content(b), std::ios::binary);
        out.write(reinterpret_cast<const char*>(b.data()), static_cast<std::streamsize>(b.size()));
        ok &= out.good();
    }
    fmt::print("{}: {} seeds\n", folder.filename().string(), seeds.size());
    return ok;
}

struct Ran {
    Result result;
    Tally tally;
    std::vector<uint8_t> cells = std::vector<uint8_t>(Auditor::cell_count);
    bool mostly_executed() const { return tally.executed * 100 >= tally.steps * 60; }
};
Ran run_case(const Case& c, Session& session)
{
    Ran r;
    r.result = execute(c, builtin_provider(), session, &r.tally, r.cells.data());
    return r;
}

uint64_t ram_of(const World& w)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < w.n_banks; i++)
        sum += w.banks[i].size;
    return sum;
}

// Violations that a seed may end in: none but the clients' in a hostile target.
bool fit_for(const Target& t, const Ran& r)
{
    return !r.result.open_error &&
           (!r.result.violation || (t.hostile() && rule(r.result.violation->rule).fault == Fault::client));
}

// What a case shows: transitions, ops and the rule that it ends with.
std::set<unsigned> features(const Ran& r)
{
    std::set<unsigned> all;
    for (unsigned i = 0; i < r.cells.size(); i++)
        if (r.cells[i])
            all.insert(i);
    for (unsigned op = 0; op < op_count; op++)
        if (r.tally.by_op[op])
            all.insert(100000 + op);
    for (unsigned m = 0; m < r.tally.marks.n.size(); m++)
        if (r.tally.marks.n[m])
            all.insert(200000 + m);
    if (r.result.violation)
        all.insert(300000 + static_cast<unsigned>(r.result.violation->rule));
    return all;
}

std::vector<Bytes> case_seeds(const Target& t)
{
    struct Candidate {
        Bytes bytes;
        std::set<unsigned> features;
    };
    std::vector<Candidate> all;
    Session session;
    Case c;
    for (uint64_t seed = 1; seed <= candidates; seed++) {
        generate(seed, t.profile, c, steps);
        const Bytes bytes = encode(c);
        if (bytes.empty() || bytes.size() > max_seed || ram_of(c.world) > max_seed_ram)
            continue;
        Case kept;
        plain_decode(bytes, intake_of(t), kept);
        const Ran r = run_case(c, session);
        const bool long_enough = t.hostile() || (r.tally.executed >= 30 && r.tally.executed <= 36);
        if (kept == c && fit_for(t, r) && r.mostly_executed() && long_enough)
            all.push_back({bytes, features(r)});
    }
    std::vector<Bytes> chosen; // greedily: whatever adds most; when nothing adds, begin anew
    std::set<unsigned> seen;
    while (chosen.size() < seeds_of_a_target && !all.empty()) {
        const auto adds = [&](const Candidate& k) {
            return std::count_if(k.features.begin(), k.features.end(), [&](unsigned f) { return !seen.contains(f); });
        };
        const auto best =
            std::max_element(all.begin(), all.end(), [&](const auto& a, const auto& b) { return adds(a) < adds(b); });
        if (adds(*best) == 0) {
            if (seen.empty())
                break;
            seen.clear();
            continue;
        }
        seen.insert(best->features.begin(), best->features.end());
        chosen.push_back(best->bytes);
        all.erase(best);
    }
    return chosen;
}

std::vector<Bytes> text_seeds()
{
    std::vector<Bytes> all;
    Case c;
    for (const Target* t : case_targets)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            generate(seed, t->profile, c, static_cast<unsigned>(3 * seed));
            if (seed % 2)
                c.expect = {Expect::violation, static_cast<RuleId>(1 + seed)};
            const std::string text = print(c);
            all.emplace_back(text.begin(), text.end());
            if (seed > 2) // the same target reads bytes
                all.push_back(encode(c));
        }
    return all;
}

std::vector<Bytes> map_seeds()
{
    std::vector<Bytes> all;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        Rng rng(seed);
        Bytes b(8 * (4 + rng.below(40)));
        for (uint8_t& byte : b)
            byte = static_cast<uint8_t>(rng.next());
        all.push_back(b);
    }
    return all;
}

int make(const fs::path& corpus)
{
    bool ok = true;
    for (const Target* t : case_targets)
        ok &= write_folder(corpus / t->name, case_seeds(*t));
    ok &= write_folder(corpus / "fuzz_case_text", text_seeds());
    ok &= write_folder(corpus / "fuzz_shadow_map", map_seeds());
    return ok ? 0 : 1;
}

// A change of the binary form may turn seeds into noise without anybody seeing it: this does.
int check(const fs::path& corpus)
{
    int wrong = 0;
    const auto complain = [&](const std::string& where, const std::string& file, const char* what) {
        fmt::print("{}/{}: {}\n", where, file, what);
        wrong++;
    };
    const auto folder = [&](const std::string& name, auto&& f) {
        const auto seeds = read_folder(corpus / name);
        if (seeds.size() < 20 || seeds.size() > 40)
            complain(name, "", "there should be 20 to 40 seeds");
        for (const auto& [file, bytes] : seeds) {
            if (file != name_of_content(bytes))
                complain(name, file, "the name is not that of the content");
            if (bytes.empty() || bytes.size() > max_seed)
                complain(name, file, "empty or too large");
            if (const char* what = f(bytes))
                complain(name, file, what);
        }
        fmt::print("{}: {} seeds\n", name, seeds.size());
    };
    Session session;
    for (const Target* t : case_targets)
        folder(std::string(t->name), [&](const Bytes& bytes) -> const char* {
            Case c, kept, again;
            decode(bytes, c);
            if (encode(c) != bytes)
                return "encode(decode(x)) is not x";
            decode(encode(c), again);
            plain_decode(bytes, intake_of(*t), kept);
            if (!(again == c) || !(kept == c))
                return "it does not decode to what was encoded";
            const Ran r = run_case(c, session);
            if (!fit_for(*t, r))
                return "it ends in a violation";
            return r.mostly_executed() ? nullptr : "less than 60 % of its steps are executed";
        });
    folder("fuzz_case_text", [](const Bytes& bytes) -> const char* {
        const std::string text(bytes.begin(), bytes.end());
        if (!text.starts_with("#"))
            return nullptr; // the binary form
        const Parsed p = parse(text);
        return p.ok && print(p.value) == text ? nullptr : "it is not canonical text";
    });
    folder("fuzz_shadow_map", [](const Bytes& bytes) { return bytes.size() % 8 ? "not whole operations" : nullptr; });
    if (wrong)
        fmt::print("{} wrong: if the form was changed on purpose, `fuzz_seeds make corpus` makes new ones\n", wrong);
    return wrong ? 1 : 0;
}

int describe(const fs::path& corpus)
{
    Session session;
    for (const Target* t : case_targets) {
        uint64_t cases = 0, tried = 0, executed = 0, ram = 0;
        std::vector<uint64_t> lengths;
        std::set<unsigned> rules;
        for (const auto& [file, bytes] : read_folder(corpus / t->name)) {
            Case c;
            plain_decode(bytes, intake_of(*t), c);
            const Ran r = run_case(c, session);
            cases++, tried += r.tally.steps, executed += r.tally.executed, ram = std::max(ram, ram_of(c.world));
            if (r.result.violation)
                rules.insert(static_cast<unsigned>(r.result.violation->rule));
            for (const Step& s : c.all())
                if (const Layout& l = layouts()[s.op]; l.len != Layout::absent && l.use != Layout::absent)
                    lengths.push_back(s.arg[l.len]);
        }
        if (!cases)
            continue;
        std::sort(lengths.begin(), lengths.end());
        fmt::print("{}: {} seeds, {:.1f} steps tried, {:.1f} executed, median length of a range {}, at most {} KiB of "
                   "RAM, {} rules broken by clients\n",
                   t->name, cases, static_cast<double>(tried) / static_cast<double>(cases),
                   static_cast<double>(executed) / static_cast<double>(cases),
                   lengths.empty() ? 0 : lengths[lengths.size() / 2], ram >> 10, rules.size());
    }
    return 0;
}

int dictionary()
{
    std::set<std::string> all{"# dmaudit case 1",
                              "expect clean",
                              "world ",
                              "device ",
                              "mode=hostile",
                              "mode=conforming",
                              "page=",
                              "line=",
                              "banks=",
                              "0x",
                              "@0x80000000",
                              "K",
                              "M",
                              " = ",
                              "\\x0a"};
    for (const Spec& s : specs()) {
        all.insert(std::string(s.name) + " ");
        for (const Field& f : s.fields) {
            const std::string key = f.name.empty() ? "" : std::string(f.name) + "=";
            if (!key.empty())
                all.insert(key);
            for (const Enumerator& e : words(f.shape))
                all.insert(key + std::string(e.name));
        }
    }
    for (size_t i = 1; i < rules().size(); i++)
        all.insert("expect " + std::string(rules()[i].name));
    for (const char kind : obj_prefix)
        for (const char* number : {"0", "1", "255"})
            all.insert(std::string(1, kind) + number);
    fmt::print("# The words of the text form of a case. Made by `fuzz_seeds dictionary`; a test compares.\n");
    for (const std::string& word : all)
        fmt::print("\"{}\"\n", word);
    return 0;
}

} // namespace
} // namespace dmaudit::fuzz

int main(int argc, char** argv)
{
    using namespace dmaudit::fuzz;
    const std::string verb = argc > 1 ? argv[1] : "";
    if (verb == "dictionary" && argc == 2)
        return dictionary();
    if (argc == 3 && (verb == "make" || verb == "check" || verb == "describe"))
        return verb == "make" ? make(argv[2]) : verb == "check" ? check(argv[2]) : describe(argv[2]);
    fmt::print(stderr, "usage: {} make|check|describe CORPUS, or dictionary\n", argc ? argv[0] : "fuzz_seeds");
    return 2;
}
