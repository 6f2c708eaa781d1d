#include "harness/binary_values.hpp"
#include <algorithm>
#include <bit>

namespace dmaudit::codes {
namespace {

// Classes of numbers: the upper four bits of a code. The rest is the payload.
enum Class : unsigned {
    small = 0,      // payload
    small_more = 1, // 4096 + payload
    round = 2,      // 8..1920, every scale alike (2 and 3)
    near_line = 4,  // 0..15 lines, -8..+7 bytes (4 and 5)
    far_line = 6,   // 0..255 lines, -8..+7
    power = 7,      // 2^k, -8..+7
    near_page = 8,  // 0..15 pages, -8..+7
    nice = 9,       // a table (9 to 13)
    part = 13,      // block of a pool: the whole, a half, a quarter, an eighth
    few_lines = 14, // 0..15 lines
    special = 15,   // 0..3071 lines; from 0xfc00 on near the top of the integers; from 0xfe00 on past the end
};
constexpr unsigned payload_bits = 12;
constexpr uint16_t first_huge = 0xfc00, first_past = 0xfe00;

constexpr uint64_t nice_values[] = {1,  4,  8,   16,  32,  64,  128, 256, 2,   3,   7,    9,    15,   17,   31,   33,
                                    63, 65, 127, 129, 255, 257, 300, 511, 512, 513, 1024, 1500, 1514, 1536, 2048, 0};

uint64_t number(const World& w, unsigned code)
{
    const uint64_t p = code & 0xfff, k = p >> 4, d = (p & 15) - 8; // wraps on purpose: unsigned
    switch (code >> payload_bits) {
    case small:
        return p;
    case small_more:
        return 4096 + p;
    case round:
    case round + 1:
        return (8 + (p & 7)) << (p >> 3 & 7);
    case near_line:
    case near_line + 1:
        return w.line * (k & 15) + d;
    case far_line:
        return w.line * k + d;
    case power:
        return (uint64_t{1} << (k & 63)) + d;
    case near_page:
        return w.page * (k & 15) + d;
    case few_lines:
        return w.line * (p & 15);
    case special:
        return code < first_huge ? w.line * p : -(p & 0xff);
    default:
        return nice_values[p % std::size(nice_values)];
    }
}

// In a hostile case a few codes leave the object on purpose; all others stay inside, which starts at `least`.
uint64_t clip(const World& w, unsigned code, uint64_t v, uint64_t end, uint64_t least)
{
    if (w.mode == Mode::hostile && code >= first_past)
        return end + 1 + (code & 7);
    if (v <= end || (w.mode == Mode::hostile && code >= first_huge))
        return v;
    return end < least ? end : least + (v - least) % (end - least + 1);
}

uint64_t size(const Context& c, unsigned code)
{
    const Scope& s = c.scope;
    const World& w = s.world();
    const uint64_t v = number(w, code);
    if (c.layout.makes == obj_pool) {
        const uint64_t most = std::max(s.space(obj_pool).largest, w.page);
        return code >> payload_bits < few_lines ? w.page * (1 + code % std::min<uint64_t>(8, most / w.page))
                                                : clip(w, code, v, most, 1);
    }
    if (c.layout.makes == obj_block && c.used) // from a pool
        return code >> payload_bits == part ? c.used->length >> (code & 3) : clip(w, code, v, c.used->length, 1);
    const uint64_t most = c.layout.makes == obj_buffer ? std::min(s.space(obj_buffer).largest, 4 * w.page) : 8 * w.page;
    return v > most && code < first_huge ? 1 + v % 2048 : clip(w, code, v, most, 1);
}

uint64_t place(const Context& c, unsigned code)
{
    const Scope::Space& s = c.scope.space(c.layout.makes);
    const uint64_t p = code & 0xfff, last_bank = s.parts ? s.start[s.parts - 1] : 0;
    const World& w = c.scope.world();
    uint64_t v = 0;
    switch (code >> payload_bits) {
    case small:
        v = p;
        break;
    case small_more:
        v = 4096 + p;
        break;
    case near_page:
        v = last_bank + p;
        break;
    case nice:
        v = last_bank + w.line * p;
        break;
    case nice + 1:
        v = w.page * (p >> 4) + (p & 15) - 8;
        break;
    default:
        v = w.line * p;
        break;
    }
    return c.scope.free_place(c.layout.makes, s.total ? v % s.total : 0,
                              c.layout.size == Layout::absent ? 0 : c.step.arg[c.layout.size]);
}

// Words by the lower four bits of the code: places in words(shape), the common ones more often.
constexpr uint8_t even_thirds[16] = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0};
constexpr uint8_t sync_words[16] = {4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0, 1, 2, 3};
constexpr uint8_t rare_one[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1};
constexpr uint8_t sg_words[32] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4,
                                  0, 0, 0, 0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 8};
constexpr uint8_t halves[16] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};

uint64_t word(Shape shape, const World& w, unsigned code)
{
    const auto list = words(shape);
    size_t i = 0;
    switch (shape) {
    case Shape::dir:
        i = (code & 0xff) == 0xff ? 3 : even_thirds[code & 15];
        break; // `none` is always a mistake: rare
    case Shape::sync_dir:
        i = sync_words[code & 15];
        break;
    case Shape::attrs:
        i = rare_one[code & 15];
        break;
    case Shape::hint:
        i = (code & 15) < list.size() + 6 && (code & 15) > 6 ? (code & 15) - 6 : 0;
        break;
    case Shape::cache_op:
        i = even_thirds[code & 15];
        break;
    case Shape::sg_shape:
        i = sg_words[code & 31];
        break;
    case Shape::lie: // one in 16, and only where mistakes are wanted
    case Shape::memory:
    case Shape::context:
        i = w.mode == Mode::conforming || (code & 15) != 15 ? 0
                                                            : 1 + (code >> 4) % std::min<size_t>(list.size() - 1, 7);
        break; // committed cases mean one of the first seven; the others come as literals
    default:
        i = halves[code & 15];
        break;
    }
    return list[std::min(i, list.size() - 1)].value;
}

uint64_t limit(const World& w, unsigned code)
{
    if (code & 7) // most limits make the allocation fail
        return 0;
    const uint64_t first = w.banks[0].phys + w.devices[0].offset, end = first + w.banks[0].size - 1;
    switch (code >> 3 & 7) {
    case 0:
        return 0xffffffff;
    case 1:
        return end;
    case 2:
        return first + w.banks[0].size / 2 - 1;
    case 3:
        return first + w.banks[0].size / 4 - 1;
    case 4:
        return w.banks[w.n_banks - 1u].phys + w.devices[0].offset + w.banks[w.n_banks - 1u].size - 1;
    case 5:
        return first + w.page - 1;
    case 6:
        return first + w.page;
    default:
        return 0xffffff;
    }
}

uint64_t boundary(const World& w, unsigned code)
{
    if ((code & 3) != 3) // most ask for none, and no code asks as often as that of nothing
        return 0;
    const uint64_t first = w.banks[0].phys + w.devices[0].offset, last = first + (divide(w, 0).arena - 1);
    // Of the arena, whatever its address, or of the bank.
    const uint64_t inside = std::bit_floor(first ^ (code & 32 ? first + (w.banks[0].size - 1) : last));
    const uint64_t table[] = {w.page, 2 * w.page, 4 * w.page, 65536, w.page / 2, 256, 16 * w.page, inside};
    return table[code >> 2 & 7];
}

// Every second one opens the device again, and few leave it little.
uint64_t mask(const Scope& scope, uint64_t device, unsigned code)
{
    const World& w = scope.world();
    if (!(code & 1) || device >= w.n_devices)
        return all_ones;
    const DeviceSpec& d = w.devices[device];
    const uint64_t first = d.iommu ? 0 : w.banks[0].phys + d.offset, size = w.banks[0].size;
    const uint64_t few[] = {first + w.page - 1, first + 4 * w.page - 1, 0xffffff, 0};
    switch (code >> 1 & 7) {
    case 0:
        return 0xffffffff;
    case 1:
    case 2:
        return first + divide(w, 0).arena - 1;
    case 3:
        return first + size / 2 - 1;
    case 4:
        return first + size - 1;
    case 5: { // of a client's young buffer the last byte, or the last but one
        const unsigned n = scope.count(obj_buffer, true);
        if (d.iommu || n == 0)
            return first + size - 2;
        const Known& k = scope.recent(obj_buffer, true, (code >> 5) % std::min(n, 2u));
        auto offset = client_offset(w, k.place, k.length);
        for (unsigned b = 0; offset && b < w.n_banks; *offset -= w.banks[b++].size)
            if (*offset < w.banks[b].size)
                return w.banks[b].phys + *offset + d.offset + k.length - 1 - (code >> 4 & 1);
        return first + size - 2;
    }
    case 6:
        return d.limit;
    default:
        return few[code >> 4 & 3];
    }
}

} // namespace

uint64_t value_of(const Context& c, size_t field, uint16_t code)
{
    const World& w = c.scope.world();
    const Shape shape = c.layout.shapes[field];
    switch (shape) {
    case Shape::def:
    case Shape::use:
        return 0; // names have a byte of their own
    case Shape::device:
        return code % w.n_devices;
    case Shape::size:
        return size(c, code);
    case Shape::place:
        return place(c, code);
    case Shape::off:
        return clip(w, code, number(w, code), c.used ? c.used->length : all_ones, 0);
    case Shape::len: {
        const uint64_t off = c.layout.off == Layout::absent ? 0 : c.step.arg[c.layout.off],
                       length = c.used ? c.used->length : all_ones;
        return clip(w, code, number(w, code), off <= length ? length - off : 0, 1);
    }
    case Shape::used:
        return code < 0x8000 ? all_ones
                             : clip(w, code, number(w, code & 0x7fff), c.used ? c.used->length : all_ones, 0);
    case Shape::align:
        return code & 3 ? 0 : uint64_t{1} << (code >> 2) % 17;
    case Shape::limit:
        return limit(w, code);
    case Shape::boundary:
        return boundary(w, code);
    case Shape::mask:
        return mask(c.scope, c.step.arg[0], code);
    case Shape::low_bits: // less than a page, mostly
        return (uint64_t{1} << (code & 31 ? code % (static_cast<unsigned>(std::bit_width(w.page))) : code >> 5 & 31)) - 1;
    case Shape::seed:
        return code & 0xff;
    case Shape::pages: {
        if (c.layout.makes == obj_block) // dma_alloc_pages
            return 1 + code % 4;
        if (c.layout.makes == obj_sg) // entries of a scatterlist, whatever the size of the buffer
            return code & 1 ? 1 + (code >> 1) % 4 : 1 + (code >> 1) % 16;
        const uint64_t all = c.used ? c.used->length / w.page + (c.used->length % w.page != 0) : 1;
        return (code & 3) < 2    ? 1
               : (code & 3) == 2 ? all
                                 : 1 + (code >> 2) % (w.mode == Mode::hostile ? 8 : std::max<uint64_t>(all, 1));
    }
    case Shape::nth: { // a page offset lies inside the window hardly ever; callbacks have small numbers
        const unsigned zeros = c.layout.pages == Layout::absent ? 8 : 14;
        return (code & 15) < zeros ? 0 : (code & 15) - zeros + 1;
    }
    case Shape::dir:
    case Shape::sync_dir:
    case Shape::attrs:
    case Shape::flag:
    case Shape::lie:
    case Shape::sg_shape:
    case Shape::cache_op:
    case Shape::hint:
    case Shape::memory:
    case Shape::context:
        return word(shape, w, code);
    }
    return 0;
}

uint16_t code_of(const Context& c, size_t field, uint64_t v)
{
    const World& w = c.scope.world();
    uint16_t code = code_literal;
    const auto fits = [&](uint64_t candidate) { // the first that fits is kept
        if (code == code_literal && candidate < code_literal &&
            value_of(c, field, static_cast<uint16_t>(candidate)) == v)
            code = static_cast<uint16_t>(candidate);
        return code != code_literal;
    };
    const auto numbers = [&](uint64_t bits) { // codes of number(), or'ed with bits; the likely ones first
        const auto offset_from = [&](uint64_t unit, uint64_t cls, uint64_t most) {
            const uint64_t k = (v + 8) / unit, d = v + 8 - k * unit;
            return k < most && d < 16 && fits(bits | cls << payload_bits | k << 4 | d);
        };
        if ((v < 8192 && fits(bits | v)) ||
            (v % w.line == 0 && v / w.line < 0xc00 && fits(bits | uint64_t{special} << payload_bits | v / w.line)) ||
            offset_from(w.line, far_line, 256) || offset_from(w.page, near_page, 16))
            return;
        for (unsigned k = static_cast<unsigned>(std::bit_width(v)), end = k + 1; k <= end && k <= 64; k++)
            if (const uint64_t d = k ? v - (uint64_t{1} << (k - 1)) + 8 : 16; d < 16)
                if (fits(bits | uint64_t{power} << payload_bits | (k - 1) << 4 | d))
                    return;
        if (-v < 0x100 && fits(bits | first_huge | (-v & 0xff)))
            return;
        for (unsigned k = 0; k < 8 && !fits(first_past | k); k++) {
        }
    };
    switch (c.layout.shapes[field]) {
    case Shape::size:
        if (c.layout.makes == obj_pool) {
            if (fits((v / w.page - 1) & 7) || fits(uint64_t{few_lines} << payload_bits | (v / w.line & 15)))
                break;
        } else if (c.used) {
            for (unsigned k = 0; k < 4; k++)
                if (fits(uint64_t{part} << payload_bits | k))
                    return code;
        }
        numbers(0);
        break;
    case Shape::off:
    case Shape::len:
        numbers(0);
        break;
    case Shape::used:
        if (!fits(0))
            numbers(0x8000);
        break;
    case Shape::place: {
        const Scope::Space& s = c.scope.space(c.layout.makes);
        const uint64_t in_last = v - (s.parts ? s.start[s.parts - 1] : 0);
        if ((v < 8192 && fits(v)) ||
            (v % w.line == 0 && v / w.line < 4096 && fits(uint64_t{round} << payload_bits | v / w.line)) ||
            (in_last < 4096 && fits(uint64_t{near_page} << payload_bits | in_last)) ||
            (in_last % w.line == 0 && in_last / w.line < 4096 &&
             fits(uint64_t{nice} << payload_bits | in_last / w.line)))
            break;
        if (const uint64_t k = (v + 8) / w.page, d = v + 8 - k * w.page; k < 256 && d < 16)
            fits(uint64_t{nice + 1} << payload_bits | k << 4 | d);
        break;
    }
    case Shape::seed:
        fits(v & 0xff);
        break;
    default: // a handful of values: their codes repeat with a short period
        for (unsigned i = 0; i < 256 && !fits(i); i++) {
        }
    }
    return code;
}

} // namespace dmaudit::codes
