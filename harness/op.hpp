// How an op is declared: one struct of arguments with a constexpr list of its fields. Everything that prints, parses,
// encodes, mutates, generates or documents ops is a loop over that list.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace dmaudit {

// What a name stands for. A field may accept several (a bit set).
enum Obj : uint8_t {
    obj_none = 0,
    obj_buffer = 1,
    obj_mapping = 2,
    obj_block = 4,
    obj_pool = 8,
    obj_window = 16,
    obj_sg = 32, // a mapped scatterlist
    obj_dma_buf = 64,
    obj_attachment = 128
};
constexpr int obj_kinds = 8;
constexpr char obj_prefix[obj_kinds] = {'b', 'm', 'k', 'p', 'w', 'g', 'x', 'a'}; // names in text: b0, m3, k1, p0, w2
constexpr int obj_index(Obj o)
{
    return std::countr_zero(static_cast<unsigned>(o));
}

// A name: kind and number. Each is defined once in a case and never reused, so a stale handle is a plain reference.
constexpr unsigned max_names = 256; // of one kind
constexpr uint64_t name_of(Obj kind, unsigned number)
{
    return static_cast<uint64_t>(kind) << 8 | number;
}
constexpr Obj name_kind(uint64_t name)
{
    return static_cast<Obj>(name >> 8 & 0xff);
}
constexpr unsigned name_number(uint64_t name)
{
    return static_cast<unsigned>(name & 0xff);
}

// What an argument means: decides how it prints, which values are interesting and what it is when left out.
enum class Shape : uint8_t {
    def,    // the name that the op defines
    use,    // a name defined before
    device, // index of a device
    size,   // bytes of a new object
    place,  // byte offset in the space that the world keeps for clients' buffers or for pools
    off,
    len,      // a range in the object that the op uses
    used,     // bytes the device may have written; all ones: all of them
    dir,      // a direction
    sync_dir, // a direction, or `same` (the mapping's)
    attrs,    // none, skip
    align,    // a power of two, or 0
    limit,    // an inclusive address, 0: none
    flag,     // no, yes
    seed,     // fills bytes
    lie,      // how the client's arguments differ from the truth
    cache_op, // flush, invalidate, flush_invalidate
    pages,    // a number of pages
    sg_shape, // how a scatterlist is cut: see SgShape
    nth,      // count of a platform call inside the next op; 0: at once
    boundary, // a power of two, 0: none
    mask,     // an inclusive address, all ones: every address
    low_bits, // 2^n - 1
    hint,     // an attribute that changes nothing of what a client may rely on
    memory,   // what a client's buffer stands for
    context,  // task, atomic
};

struct Enumerator {
    std::string_view name;
    uint64_t value;
};
// The words of a shape whose values are words (empty for numbers).
std::span<const Enumerator> words(Shape);
// The value of an argument that is left out; nothing: it must be given.
constexpr uint64_t all_ones = ~uint64_t{0};
constexpr uint64_t same_direction = 4;
constexpr std::optional<uint64_t> default_of(Shape s)
{
    switch (s) {
    case Shape::def:
    case Shape::use:
    case Shape::size:
    case Shape::dir:
    case Shape::cache_op:
    case Shape::len:
    case Shape::mask:
    case Shape::low_bits:
        return {};
    case Shape::used:
        return all_ones;
    case Shape::sync_dir:
        return same_direction;
    case Shape::pages:
        return 1;
    case Shape::sg_shape:
        return 0;
    default:
        return 0;
    }
}

// The entries of a scatterlist are the parts of one range: of equal length, side by side or with gaps, for a device
// that takes segments of any length, of a page at most, or none that crosses a page.
// The last four: segments of at most two parts, a boundary that two parts fit in, the last part first, each second part
// the same as the one before it.
enum SgShape : uint64_t {
    sg_adjacent,
    sg_line_gaps,
    sg_page_gaps,
    sg_page_segments,
    sg_page_boundary,
    sg_two_parts,
    sg_near_boundary,
    sg_descending,
    sg_repeated
};

enum Lie : uint64_t {
    lie_none,
    lie_size_less,
    lie_size_more,
    lie_interior,
    lie_foreign,
    lie_other_dir,
    lie_other_device,
    lie_other_kind,
    lie_cpu_address, // of a block: its device address goes with the CPU address of another page
    lie_count
};

template <Shape S, uint8_t O = obj_none> struct Arg {
    uint64_t v = 0;
    static constexpr Shape shape = S;
    static constexpr uint8_t objs = O;
};
template <Obj O> using Def = Arg<Shape::def, O>;
template <uint8_t O> using Use = Arg<Shape::use, O>;

struct Field {
    std::string_view name; // empty: positional (the defined or used name)
    Shape shape;
    uint8_t objs; // accepted kinds, for def and use
};
template <class C, class A> constexpr Field f(std::string_view name, A C::*)
{
    return {name, A::shape, A::objs};
}

constexpr size_t max_args = 8;

// A stored step: dumb integers. `op` is an index into `specs()`; args are in the order of the op's fields.
struct Step {
    uint8_t op = 0;
    std::array<uint64_t, max_args> arg{};
    friend bool operator==(const Step&, const Step&) = default;
};

// What an op ends the life of: the object it uses first, or what is managed on its device (since a group was opened).
enum class Ends : uint8_t { nothing, first_use, managed };
// Who acts.
enum class Actor : uint8_t { client, device, machine };

// Families of ops; an op belongs to one or more.
enum Facet : uint32_t {
    facet_streaming = 1,
    facet_coherent = 2,
    facet_pool = 4,
    facet_opaque = 8,
    facet_noncoherent = 16,
    facet_scatter = 32,
    facet_managed = 64,
    facet_dma_buf = 128,
    all_facets = 255,
    facet_strict = 256 // only where clients err, and in scopes of its own: others would get nowhere by chance
};

struct Spec {
    std::string_view name, doc;
    std::span<const Field> fields;
    Ends ends;
    Actor actor;
    uint32_t facets;
    bool sleeps; // never for interrupt context or under a spinlock
};

// An op declares `sleeps` if its call may.
template <class Op>
concept Sleeps = requires
{
    Op::sleeps;
};

// A typed view of a step.
template <class Op> Op unpack(const Step& s)
{
    constexpr bool empty = Op::fields.empty();
    static_assert(empty || sizeof(Op) == sizeof(uint64_t) * Op::fields.size(),
                  "a field is missing in the list of fields");
    static_assert(Op::fields.size() <= max_args);
    Op op;
    if constexpr (!empty)
        std::memcpy(static_cast<void*>(&op), s.arg.data(), sizeof op);
    return op;
}

} // namespace dmaudit
