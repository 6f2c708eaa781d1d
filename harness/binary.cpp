#include "harness/binary.hpp"
#include "harness/binary_values.hpp"
#include "harness/binary_world.hpp"

// A cell: [0] op, [1] and [2] its names in the order of the fields, [3] how ranges are meant, [4..15] six value codes.
// Whatever no code says is marked as a literal, and the literals follow in cells of two u64 in the order of the fields.

namespace dmaudit {
namespace {

using namespace codes;

constexpr unsigned max_refs = 2, max_codes = 6;
constexpr uint8_t first_dead = 0xf0,
                  ref_literal = 0xff; // a name: 0.. = k-th youngest living, 0xf0.. = k-th youngest dead

// Ranges: as given, as last on this object, all of the object; by the lower half of the byte.
enum class How : uint8_t { given = 0, last = 6, whole = 11 };
How how_of(uint8_t byte)
{
    return (byte & 15) < 6 ? How::given : (byte & 15) < 11 ? How::last : How::whole;
}

bool inside(BytesUsed r, uint64_t length)
{
    return r.off <= length && r.len <= length - r.off;
}
BytesUsed range_of(How how, const Known& k)
{
    return how == How::last && inside(k.last, k.length) ? k.last : BytesUsed{0, k.length};
}

struct Cell {
    std::span<const uint8_t> bytes; // of the cell
    std::span<const uint8_t> rest;  // behind it: literals

    uint8_t ref(unsigned i) const { return i < max_refs ? bytes[1 + i] : 0; }
    uint16_t code(unsigned i) const
    {
        return i < max_codes ? static_cast<uint16_t>(bytes[4 + 2 * i] | bytes[5 + 2 * i] << 8) : 0;
    }
};

class Decoder {
  public:
    explicit Decoder(const Scope& scope)
        : scope_(scope), layouts_(layouts()), hostile_(scope.world().mode == Mode::hostile)
    {
    }

    // Returns the bytes of literals behind the cell.
    size_t step(const Cell& c, Step& s) const
    {
        s.arg.fill(0);
        s.op = static_cast<uint8_t>(c.bytes[0] % op_count);
        Names names{};
        // An op without its object becomes the op that makes one; that may lack something in turn.
        for (unsigned depth = 0; !resolve(c, layouts_[s.op], names); depth++) {
            const Layout& l = layouts_[s.op];
            // If the kinds went in a circle: the first op, which needs nothing.
            s.op = depth < obj_kinds ? l.makers[c.ref(l.def == Layout::absent ? 0 : 1) % l.n_makers] : uint8_t{0};
        }
        return arguments(c, names, s);
    }

  private:
    using Names = std::array<const Known*, max_args>; // of each field that uses a name

    const Scope& scope_;
    const std::array<Layout, op_count>& layouts_;
    bool hostile_;

    // Literals lie behind the cell in the order of the fields: the number of those before `field`.
    static unsigned literals_before(const Cell& c, const Layout& l, size_t field)
    {
        unsigned refs = 0, codes = 0, n = 0;
        for (size_t a = 0; a < field; a++) {
            const bool name = l.shapes[a] == Shape::def || l.shapes[a] == Shape::use;
            n += name ? c.ref(refs++) == ref_literal : c.code(codes++) == code_literal;
        }
        return n;
    }

    bool resolve(const Cell& c, const Layout& l, Names& names) const
    {
        for (unsigned i = 0; i < l.n_names; i++) {
            const uint8_t a = l.names[i];
            if (l.shapes[a] == Shape::use && !(names[a] = object(c, l, a, c.ref(i))))
                return false;
        }
        return true;
    }

    const Known* object(const Cell& c, const Layout& l, size_t field, uint8_t code) const
    {
        const uint8_t kinds = l.objs[field];
        if (code >= first_dead) {
            if (code == ref_literal) {
                const Known* k = scope_.find(read_u64(c.rest, 8 * literals_before(c, l, field)));
                if (k && (name_kind(k->name) & kinds))
                    return k;
                code = 0;
            } else if (hostile_) { // in a conforming case it would only be skipped
                if (const Known* k = scope_.pick(kinds, false, code - first_dead))
                    return k;
            }
        }
        return scope_.pick(kinds, true, code);
    }

    size_t arguments(const Cell& c, const Names& names, Step& s) const
    {
        const Layout& l = layouts_[s.op];
        const How how = how_of(c.bytes[3]);
        const Known* used = l.use == Layout::absent ? nullptr : names[l.use];
        bool reuse = false; // the range comes from the object, not from the codes
        BytesUsed range{0, 0};
        unsigned refs = 0, codes = 0, literals = 0;
        for (size_t a = 0; a < l.n_fields; a++) {
            if (l.shapes[a] == Shape::def) {
                const auto kind = static_cast<Obj>(l.objs[a]);
                s.arg[a] = name_of(kind, scope_.next(kind));
                if (c.ref(refs++) == ref_literal)
                    if (const uint64_t v = read_u64(c.rest, 8 * literals++); v >> 8 == kind && !scope_.find(v))
                        s.arg[a] = v;
                continue;
            }
            if (l.shapes[a] == Shape::use) {
                s.arg[a] = names[a]->name;
                literals += c.ref(refs++) == ref_literal;
                continue;
            }
            const unsigned at = codes++;
            const uint16_t code = c.code(at);
            if (code == code_literal) {
                s.arg[a] = read_u64(c.rest, 8 * literals++);
                continue;
            }
            if (a == l.off && used && l.len != Layout::absent && how != How::given &&
                c.code(at + l.len - l.off) != code_literal) {
                reuse = true;
                range = range_of(how, *used);
            }
            if (reuse && (a == l.off || a == l.len))
                s.arg[a] = a == l.off ? range.off : range.len;
            else
                s.arg[a] = value_of({scope_, s, l, used}, a, code);
        }
        return (literals + 1) / 2 * cell_bytes;
    }
};

class Encoder {
  public:
    Encoder(const Scope& scope, std::span<uint8_t> out) : scope_(scope), out_(out) {}

    // Returns the bytes written; 0: no room.
    size_t step(const Step& s)
    {
        const Layout& l = layouts()[s.op];
        const auto fields = specs()[s.op].fields;
        if (out_.size() < cell_bytes)
            return 0;
        for (size_t i = 0; i < cell_bytes; i++)
            out_[i] = 0;
        out_[0] = s.op;
        const Known* used = l.use == Layout::absent ? nullptr : scope_.find(s.arg[l.use]);
        How how = How::given;
        if (used && l.off != Layout::absent && l.len != Layout::absent) {
            const BytesUsed r{s.arg[l.off], s.arg[l.len]};
            how = r == range_of(How::whole, *used)  ? How::whole
                  : r == range_of(How::last, *used) ? How::last
                                                    : How::given;
        }
        out_[3] = static_cast<uint8_t>(how);

        std::array<uint64_t, max_args> literals{};
        unsigned n_literals = 0, refs = 0, codes = 0;
        Step seen; // the arguments so far: the decoder knows no more
        seen.op = s.op;
        for (size_t a = 0; a < fields.size(); a++) {
            const bool name = fields[a].shape == Shape::def || fields[a].shape == Shape::use;
            bool literal = false;
            if (name) {
                const unsigned i = refs++;
                const uint8_t r = i < max_refs ? ref(fields[a], s.arg[a]) : 0;
                literal = r == ref_literal;
                if (i < max_refs)
                    out_[1 + i] = r;
            } else {
                const unsigned i = codes++;
                uint16_t code = i < max_codes ? code_of({scope_, seen, l, used}, a, s.arg[a]) : 0;
                if (code == code_literal && how != How::given && (a == l.off || a == l.len))
                    code = 0; // it does not matter
                literal = code == code_literal;
                if (i < max_codes) {
                    out_[4 + 2 * i] = static_cast<uint8_t>(code);
                    out_[5 + 2 * i] = static_cast<uint8_t>(code >> 8);
                }
            }
            if (literal)
                literals[n_literals++] = s.arg[a];
            seen.arg[a] = s.arg[a];
        }
        const size_t total = cell_bytes * (1 + (n_literals + 1) / 2);
        if (out_.size() < total)
            return 0;
        for (unsigned i = 0; i < (n_literals + 1) / 2 * 2; i++)
            write_u64(out_, cell_bytes + 8 * i, literals[i]);
        return total;
    }

  private:
    const Scope& scope_;
    std::span<uint8_t> out_;

    uint8_t ref(const Field& f, uint64_t name) const
    {
        if (f.shape == Shape::def) {
            const auto kind = static_cast<Obj>(f.objs);
            return name == name_of(kind, scope_.next(kind)) ? 0 : ref_literal;
        }
        const Known* k = scope_.find(name);
        if (!k || !(name_kind(name) & f.objs))
            return ref_literal;
        const unsigned rank = scope_.rank(*k, f.objs);
        if (k->alive)
            return rank < first_dead ? static_cast<uint8_t>(rank) : ref_literal;
        const bool coded = scope_.world().mode == Mode::hostile && rank < ref_literal - first_dead;
        return coded ? static_cast<uint8_t>(first_dead + rank) : ref_literal;
    }
};

} // namespace

void decode(std::span<const uint8_t> bytes, Case& out)
{
    out.count = 0;
    size_t at = read_header(bytes, out.world, out.expect);
    Scope scope(out.world);
    const Decoder decoder(scope);
    while (at + cell_bytes <= bytes.size() && out.count < max_steps) {
        const Cell cell{bytes.subspan(at, cell_bytes), bytes.subspan(at + cell_bytes)};
        Step& s = out.steps[out.count++];
        at += cell_bytes + decoder.step(cell, s);
        scope.append(s);
    }
}

size_t encode_what_fits(Case& c, std::span<uint8_t> out)
{
    size_t at = write_header(c.world, c.expect, out);
    if (at == 0)
        return 0;
    Scope scope(c.world);
    for (uint16_t i = 0; i < c.count; i++) {
        const size_t n = Encoder(scope, out.subspan(at)).step(c.steps[i]);
        if (n == 0)
            c.count = i;
        else
            scope.append(c.steps[i]);
        at += n;
    }
    return at;
}

size_t encode(const Case& c, std::span<uint8_t> out)
{
    Case all = c;
    const size_t n = encode_what_fits(all, out);
    return all.count == c.count ? n : 0;
}

std::vector<uint8_t> encode(const Case& c)
{
    std::vector<uint8_t> out(max_encoded);
    out.resize(encode(c, out));
    return out;
}

} // namespace dmaudit
