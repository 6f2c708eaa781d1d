#include "harness/scope.hpp"
#include "harness/text.hpp"
#include "harness/text_hints.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

namespace dmaudit {
namespace {

struct Word {
    std::string_view key, text; // key is empty for positional words
};

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    Parsed run()
    {
        if (text_.size() > max_text)
            fail("a case has at most " + std::to_string(max_text) + " bytes of text");
        for (size_t at = 0; at < text_.size() && message_.empty();) {
            line_++;
            const size_t end = std::min(text_.find('\n', at), text_.size());
            line(text_.substr(at, end - at));
            at = end + 1;
        }
        if (message_.empty() && !scope_)
            begin_steps();
        Parsed p;
        p.ok = message_.empty();
        if (p.ok)
            p.value = case_;
        else
            p.error = {line_, message_};
        return p;
    }

  private:
    std::string_view text_;
    unsigned line_ = 0, world_line_ = 0;
    std::string message_;
    Case case_;
    std::optional<Scope> scope_; // from the first step on: the world is known by then
    bool world_seen_ = false, anything_seen_ = false, expect_seen_ = false;
    std::string_view def_;    // of the line at hand: the name before '='
    std::vector<Word> words_; // and what stands after the first word

    bool fail(std::string message)
    {
        if (message_.empty())
            message_ = std::move(message);
        return false;
    }

    void line(std::string_view s)
    {
        if (s.size() > max_text_line)
            return void(fail("a line has at most " + std::to_string(max_text_line) + " characters"));
        if (!anything_seen_ && s.starts_with(text_header)) {
            const std::string_view rest = s.substr(text_header.size()),
                                   version = rest.substr(0, rest.find_first_of(" \t\r"));
            if (version != "1")
                return void(fail("this is version 1 of the case format, found version " + quoted(version)));
        }
        std::string_view head;
        if (!split(s.substr(0, s.find('#')), head) || head.empty())
            return;
        anything_seen_ = true;
        if (head == "world" || head == "device") {
            if (!def_.empty())
                fail("'" + std::string(head) + "' defines no name, found " + quoted(def_));
            else
                head == "world" ? world() : add_device();
        } else if (head == "expect") {
            expect();
        } else {
            step(head);
        }
    }

    // `[name =] head word... key=value...`; spaces around '=' do not matter.
    bool split(std::string_view s, std::string_view& head)
    {
        static constexpr std::string_view space = " \t\r\f\v";
        std::array<std::string_view, 3> next{}; // a window of tokens
        size_t at = 0;
        const auto token = [&]() -> std::string_view {
            at = std::min(s.find_first_not_of(space, at), s.size());
            const size_t start = at;
            if (at < s.size() && s[at] == '=')
                at++;
            else
                while (at < s.size() && s[at] != '=' && space.find(s[at]) == space.npos)
                    at++;
            return s.substr(start, at - start);
        };
        const auto shift = [&] {
            next[0] = next[1];
            next[1] = next[2];
            next[2] = token();
        };
        shift(), shift(), shift();
        def_ = {};
        words_.clear();
        if (next[1] == "=") {
            def_ = next[0];
            shift(), shift();
            if (next[0].empty() || def_ == "=")
                return fail("expected an op after '=', found nothing");
        }
        head = next[0];
        if (head == "=")
            return fail("expected a name or an op, found '='");
        for (shift(); !next[0].empty(); shift()) {
            if (next[0] == "=")
                return fail("expected a key before '='");
            if (next[1] != "=") {
                words_.push_back({{}, next[0]});
                continue;
            }
            if (next[2].empty() || next[2] == "=")
                return fail("expected a value after '" + std::string(next[0].substr(0, 40)) + "='");
            words_.push_back({next[0], next[2]});
            shift(), shift();
        }
        return true;
    }

    bool number(std::string_view what, std::string_view s, uint64_t& out)
    {
        std::string_view digits = s;
        int base = 10;
        if (digits.starts_with("0x") || digits.starts_with("0X")) {
            digits.remove_prefix(2);
            base = 16;
        }
        unsigned shift = 0;
        if (base == 10 && !digits.empty() && (digits.back() == 'K' || digits.back() == 'M')) {
            shift = digits.back() == 'K' ? 10 : 20;
            digits.remove_suffix(1);
        }
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out, base);
        if (digits.empty() || end != digits.data() + digits.size() || error == std::errc::invalid_argument)
            return fail("expected a number (decimal, 0x hex, K or M) for '" + std::string(what) + "', found " +
                        quoted(s));
        if (error == std::errc::result_out_of_range || (shift && out >> (64 - shift)))
            return fail("the number for '" + std::string(what) + "' is too large: " + quoted(s) +
                        " does not fit in 64 bits");
        out <<= shift;
        return true;
    }

    bool argument(std::string_view what, Shape shape, std::string_view s, uint64_t& out)
    {
        const auto list = words(shape);
        std::string expected;
        for (const Enumerator& e : list) {
            if (e.name == s) {
                out = e.value;
                return true;
            }
            expected += (expected.empty() ? "" : ", ") + std::string(e.name);
        }
        if (!list.empty() && !(s[0] >= '0' && s[0] <= '9'))
            return fail("expected one of " + expected + " for '" + std::string(what) + "', found " + quoted(s));
        return number(what, s, out);
    }

    // Keys of a line: each at most once, only known ones. Calls read(index, text) for each.
    template <class Read> bool keys(std::string_view where, std::span<const std::string_view> known, Read read)
    {
        uint64_t seen = 0;
        for (const Word& w : words_) {
            if (w.key.empty())
                return fail("expected key=value in '" + std::string(where) + "', found " + quoted(w.text));
            const size_t i = static_cast<size_t>(std::find(known.begin(), known.end(), w.key) - known.begin());
            if (i == known.size() || w.key.empty()) {
                std::string list;
                for (const std::string_view k : known)
                    list += " " + std::string(k);
                return fail("'" + std::string(where) + "' has no key " + quoted(w.key) +
                            "; its keys are:" + (list.empty() ? " none" : list));
            }
            if (seen >> i & 1)
                return fail("'" + std::string(w.key) + "' is given twice");
            seen |= uint64_t{1} << i;
            if (!read(i, w.text))
                return false;
        }
        return true;
    }

    bool early(std::string_view what)
    {
        if (scope_ || expect_seen_)
            return fail("'" + std::string(what) + "' must stand before the first op");
        world_line_ = line_;
        return true;
    }

    void world()
    {
        static constexpr std::string_view known[] = {"page",         "line",       "banks",        "coherent",
                                                     "limit",        "offset",     "iommu",        "mode",
                                                     "check_errors", "weak_order", "single_fetch", "untrusted"};
        constexpr size_t modes = std::size(known) - std::size(strict_modes);
        static_assert(std::equal(std::begin(strict_modes), std::end(strict_modes), std::begin(known) + modes,
                                 [](const StrictMode& mode, std::string_view key) { return mode.name == key; }));
        if (!early("world"))
            return;
        if (world_seen_ || case_.world.n_devices > 1)
            return void(fail(world_seen_ ? "'world' is given twice" : "'world' must stand before 'device'"));
        world_seen_ = true;
        World& w = case_.world;
        keys("world", known, [&](size_t i, std::string_view s) {
            switch (i) {
            case 0:
                return number("page", s, w.page);
            case 1:
                return number("line", s, w.line);
            case 2:
                return banks(s);
            case 3:
                return argument("coherent", Shape::flag, s, w.devices[0].coherent);
            case 4:
                return number("limit", s, w.devices[0].limit);
            case 5:
                return number("offset", s, w.devices[0].offset);
            case 6:
                return argument("iommu", Shape::flag, s, w.devices[0].iommu);
            default: {
                const StrictMode& mode = strict_modes[i - modes];
                uint64_t on = 0;
                const bool ok = argument(mode.name, Shape::flag, s, on);
                w.strict.*mode.on = on != 0;
                return ok && (on <= 1 || fail("expected no or yes for " + quoted(mode.name) + ", found " + quoted(s)));
            }
            case 7:
                w.mode = s == "conforming" ? Mode::conforming : Mode::hostile;
                return s == "conforming" || s == "hostile" ||
                       fail("expected hostile or conforming for 'mode', found " + quoted(s));
            }
        });
    }

    bool banks(std::string_view s)
    {
        World& w = case_.world;
        w.n_banks = 0;
        w.banks = {};
        for (;;) {
            if (w.n_banks == max_banks)
                return fail("a world has at most " + std::to_string(max_banks) + " banks");
            const std::string_view one = s.substr(0, s.find(','));
            const size_t at = one.find('@');
            if (at == one.npos)
                return fail("expected size@address for a bank, found " + quoted(one));
            BankSpec& b = w.banks[w.n_banks++];
            if (!number("banks", one.substr(0, at), b.size) || !number("banks", one.substr(at + 1), b.phys))
                return false;
            if (one.size() == s.size())
                return true;
            s.remove_prefix(one.size() + 1);
        }
    }

    void add_device()
    {
        static constexpr std::string_view known[] = {"coherent", "limit", "offset", "iommu"};
        World& w = case_.world;
        if (!early("device"))
            return;
        if (w.n_devices == max_devices)
            return void(fail("a world has at most " + std::to_string(max_devices) + " devices"));
        DeviceSpec& d = w.devices[w.n_devices++];
        keys("device", known, [&](size_t i, std::string_view s) {
            return i == 0 || i == 3 ? argument(known[i], Shape::flag, s, i == 0 ? d.coherent : d.iommu)
                                    : number(known[i], s, i == 1 ? d.limit : d.offset);
        });
    }

    bool begin_steps()
    {
        if (const std::string e(world_error(case_.world)); !e.empty()) {
            line_ = world_line_; // the step at hand is not to blame
            return fail("this world cannot be built: " + e);
        }
        scope_.emplace(case_.world);
        return true;
    }

    void expect()
    {
        if (expect_seen_)
            return void(fail("'expect' is given twice"));
        expect_seen_ = true;
        if (!def_.empty() || words_.size() != 1 || !words_[0].key.empty())
            return void(fail("expected 'expect clean' or 'expect RULE'"));
        const std::string_view name = words_[0].text;
        if (name == "clean") {
            case_.expect = {Expect::clean, RuleId::none};
            return;
        }
        const auto id = rule_named(name);
        if (!id || *id == RuleId::none) {
            std::vector<std::string_view> names{"clean"};
            for (const Rule& r : rules())
                if (r.id != RuleId::none)
                    names.push_back(r.name);
            return void(
                fail("expected 'clean' or the name of a rule, found " + quoted(name) + suggestion(name, names)));
        }
        case_.expect = {Expect::violation, *id};
    }

    // A name of one of these kinds, as in `b12`.
    bool name(std::string_view what, uint8_t kinds, std::string_view s, uint64_t& out)
    {
        uint64_t n = 0;
        const auto prefix = std::find(obj_prefix, obj_prefix + obj_kinds, s.empty() ? '\0' : s[0]) - obj_prefix;
        const std::string_view digits = s.substr(std::min<size_t>(s.size(), 1));
        const bool numeric = !digits.empty() && digits.size() <= 3 &&
                             digits.find_first_not_of("0123456789") == digits.npos &&
                             (digits[0] != '0' || digits.size() == 1);
        if (numeric)
            std::from_chars(digits.data(), digits.data() + digits.size(), n);
        if (prefix == obj_kinds || !numeric || n >= max_names)
            return fail("expected the name of " + kinds_text(kinds) + " " + std::string(what) +
                        ", with a number below " + std::to_string(max_names) + ", found " + quoted(s));
        out = name_of(static_cast<Obj>(1u << prefix), static_cast<unsigned>(n));
        if (!(kinds >> prefix & 1))
            return fail("expected the name of " + kinds_text(kinds) + " " + std::string(what) + ", found " + quoted(s));
        return true;
    }

    bool names(std::string_view head, std::span<const Field> fields, Step& s)
    {
        size_t at = 0; // among the positional words
        for (size_t a = 0; a < fields.size(); a++) {
            if (fields[a].shape == Shape::def) {
                if (def_.empty())
                    return fail("'" + std::string(head) + "' defines " + kinds_text(fields[a].objs) + ": expected '" +
                                obj_prefix[obj_index(static_cast<Obj>(fields[a].objs))] + "N = " + std::string(head) +
                                " ...'");
                if (!name("before '='", fields[a].objs, def_, s.arg[a]))
                    return false;
                if (scope_->find(s.arg[a]))
                    return fail("the name " + quoted(def_) + " is defined twice; names are never reused");
                def_ = {};
            } else if (fields[a].shape == Shape::use) {
                while (at < words_.size() && !words_[at].key.empty())
                    at++;
                if (at == words_.size())
                    return fail("'" + std::string(head) + "' needs the name of " + kinds_text(fields[a].objs));
                if (!name("after '" + std::string(head) + "'", fields[a].objs, words_[at].text, s.arg[a]))
                    return false;
                if (!scope_->find(s.arg[a]))
                    return fail("the name " + quoted(words_[at].text) + " is not defined by an earlier line");
                words_.erase(words_.begin() + static_cast<std::ptrdiff_t>(at));
            }
        }
        if (!def_.empty())
            return fail("'" + std::string(head) + "' defines no name, found " + quoted(def_) + " before '='");
        return true;
    }

    void step(std::string_view head)
    {
        if (!scope_ && !begin_steps())
            return;
        if (expect_seen_)
            return void(fail("'expect' must be the last line; found the op " + quoted(head) + " after it"));
        const auto op = op_named(head);
        if (!op) {
            std::vector<std::string_view> all{"world", "device", "expect"};
            for (const Spec& s : specs())
                all.push_back(s.name);
            const std::string meant = suggestion(head, all);
            return void(
                fail("unknown op " + quoted(head) + (meant.empty() ? " (`dmaudit explain ops` lists all)" : meant)));
        }
        const auto fields = specs()[*op].fields;
        Step s;
        s.op = *op;
        if (!names(head, fields, s))
            return;

        std::array<std::string_view, max_args> known{};
        std::array<size_t, max_args> field{};
        std::array<bool, max_args> given{};
        size_t n = 0;
        for (size_t a = 0; a < fields.size(); a++)
            if (!fields[a].name.empty()) {
                field[n] = a;
                known[n++] = fields[a].name;
            }
        if (!keys(head, {known.data(), n}, [&](size_t i, std::string_view text) {
                given[field[i]] = true;
                return argument(known[i], fields[field[i]].shape, text, s.arg[field[i]]);
            }))
            return;
        const Layout& l = layouts()[*op];
        for (size_t k = 0; k < n; k++) { // declared order: `off` is known before `len` is completed
            const size_t a = field[k];
            if (given[a])
                continue;
            if (const auto d = default_of(fields[a].shape)) {
                s.arg[a] = *d;
            } else if (a == l.len && l.use != Layout::absent) {
                const uint64_t length = scope_->find(s.arg[l.use])->length,
                               off = l.off == Layout::absent ? 0 : s.arg[l.off];
                if (off > length)
                    return void(fail("'len' is left out, but 'off' is past the end of " + print_name(s.arg[l.use]) +
                                     " (" + std::to_string(length) + " bytes)"));
                s.arg[a] = length - off;
            } else {
                return void(fail("'" + std::string(head) + "' needs '" + std::string(fields[a].name) + "='"));
            }
        }
        if (!case_.push(s))
            return void(fail("a case has at most " + std::to_string(max_steps) + " steps"));
        scope_->append(s);
    }
};

} // namespace

Parsed parse(std::string_view text)
{
    return Parser(text).run();
}

} // namespace dmaudit
