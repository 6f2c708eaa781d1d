#include "harness/binary.hpp"
#include "harness/binary_values.hpp"
#include "harness/scope_testing.hpp"
#include "harness/text.hpp"
#include <algorithm>
#include <gtest/gtest.h>

namespace dmaudit {
namespace {

std::vector<uint8_t> random_bytes(Rng& rng, size_t n)
{
    std::vector<uint8_t> bytes(n);
    for (uint8_t& byte : bytes)
        byte = static_cast<uint8_t>(rng.next());
    return bytes;
}
Case decoded(std::span<const uint8_t> bytes)
{
    Case c;
    decode(bytes, c);
    return c;
}

// Would an executor run the step at all? What can be said of that without running: its objects live, its range lies
// inside, its place is free.
struct Judge {
    unsigned steps = 0, good = 0;
    void add(const Case& c)
    {
        Scope scope(c.world);
        for (const Step& s : c.all()) {
            const Layout& l = layouts()[s.op];
            bool ok = true;
            const Known* used = l.use == Layout::absent ? nullptr : scope.find(s.arg[l.use]);
            if (l.use != Layout::absent)
                ok = used && used->alive;
            if (ok && used && l.off != Layout::absent && l.len != Layout::absent)
                ok = s.arg[l.off] <= used->length && s.arg[l.len] <= used->length - s.arg[l.off];
            if (l.place != Layout::absent)
                ok = ok && scope.free_place(l.makes, s.arg[l.place], s.arg[l.size]) == s.arg[l.place] &&
                     s.arg[l.size] <= scope.space(l.makes).largest;
            steps++;
            good += ok;
            scope.append(s);
        }
    }
    unsigned percent() const { return good * 100 / std::max(steps, 1u); }
};

TEST(Binary, no_op_has_more_arguments_than_a_cell_has_codes)
{
    for (const Spec& s : specs()) {
        const auto names = std::count_if(s.fields.begin(), s.fields.end(),
                                         [](const Field& f) { return f.shape == Shape::def || f.shape == Shape::use; });
        EXPECT_LE(names, 2) << s.name;
        EXPECT_LE(static_cast<long>(s.fields.size()) - names, 6) << s.name;
    }
}

TEST(Binary, nothing_decodes_to_an_empty_case_in_the_default_world)
{
    const Case c = decoded({});
    EXPECT_EQ(c.count, 0);
    EXPECT_EQ(c.expect, Expect{});
    World w;
    w.devices[0].limit = all_ones;
    EXPECT_EQ(c.world, w);
}

TEST(Binary, decode_gives_back_what_encode_wrote)
{
    Rng rng(21);
    for (int i = 0; i < 2000; i++) {
        const Case c = testing::wild_case(rng);
        const auto bytes = encode(c);
        ASSERT_FALSE(bytes.empty());
        ASSERT_EQ(decoded(bytes), c) << print(c) << "\n----\n" << print(decoded(bytes));
    }
}

TEST(Binary, any_bytes_decode_to_a_valid_case_that_survives_a_round_trip)
{
    Rng rng(22);
    for (int i = 0; i < 5000; i++) {
        const auto bytes = random_bytes(rng, rng.below(16 * 80));
        const Case c = decoded(bytes);
        ASSERT_EQ(case_error(c), "") << print(c);
        ASSERT_EQ(decoded(encode(c)), c) << print(c);
    }
}

TEST(Binary, the_encoding_of_decoded_bytes_is_compact)
{
    Rng rng(23);
    size_t cells = 0, steps = 0;
    for (int i = 0; i < 500; i++) {
        const Case c = decoded(random_bytes(rng, 16 * 33));
        cells += encode(c).size() / cell_bytes - 1;
        steps += c.count;
    }
    std::printf("[ measured ] %.3f cells for each step\n", static_cast<double>(cells) / static_cast<double>(steps));
    EXPECT_LT(cells, steps + steps / 8) << "literals are for what codes cannot say";
}

TEST(Binary, a_trailing_partial_cell_is_ignored)
{
    Rng rng(24);
    const auto bytes = random_bytes(rng, 16 * 9);
    const Case whole = decoded(bytes);
    auto longer = bytes;
    for (unsigned i = 1; i < cell_bytes; i++) {
        longer.push_back(static_cast<uint8_t>(i));
        ASSERT_EQ(decoded(longer).count, whole.count);
    }
    EXPECT_EQ(decoded(std::span(bytes).first(16 * 9 - 1)).count, whole.count - 1);
}

TEST(Binary, encode_says_when_there_is_no_room)
{
    Rng rng(25);
    for (int i = 0; i < 100; i++) {
        const Case c = testing::wild_case(rng);
        std::vector<uint8_t> out(max_encoded);
        const size_t n = encode(c, out);
        ASSERT_GT(n, 0u);
        ASSERT_EQ(encode(c, std::span(out).first(n - 1)), 0u);
        ASSERT_EQ(encode(c, std::span(out).first(n)), n);
    }
}

TEST(Binary, every_code_of_every_field_has_an_exact_inverse)
{
    // On a state with objects of all kinds.
    const Parsed p = parse("world banks=64K@0,64K@1M mode=hostile\nb0 = buffer size=300 at=16\nm0 = map_single b0 "
                           "dir=from_device\nk0 = alloc_coherent size=5000\n"
                           "p0 = declare_pool size=4K\nk1 = alloc_from_pool p0 size=100\nw0 = mmap_from_pool k1\n");
    ASSERT_TRUE(p.ok) << p.error.message;
    Scope scope(p.value.world);
    for (const Step& s : p.value.all())
        scope.append(s);
    unsigned literals = 0, all = 0;
    for (uint8_t op = 0; op < op_count; op++) {
        const Layout& l = layouts()[op];
        Step s;
        s.op = op;
        const Known* used = l.needs ? &scope.recent(l.needs, true, 0) : nullptr;
        for (size_t a = 0; a < l.n_fields; a++) {
            const Shape shape = specs()[op].fields[a].shape;
            if (shape == Shape::def || shape == Shape::use)
                continue;
            const codes::Context c{scope, s, l, used};
            for (unsigned code = 0; code < codes::code_literal; code += 7) {
                const uint64_t v = codes::value_of(c, a, static_cast<uint16_t>(code));
                const uint16_t back = codes::code_of(c, a, v);
                all++;
                literals += back == codes::code_literal;
                if (back != codes::code_literal) {
                    ASSERT_EQ(codes::value_of(c, a, back), v) << specs()[op].name << " " << a << " " << code;
                }
            }
        }
    }
    EXPECT_LT(literals, all / 50);
}

TEST(Binary, conforming_cases_from_codes_tell_no_lies_and_use_no_dead_names)
{
    Rng rng(26);
    for (int i = 0; i < 500; i++) {
        auto bytes = random_bytes(rng, 16 * 40);
        bytes[0] = 1;
        bytes[1] = 1;
        for (size_t at = 16; at < bytes.size(); at++) // no literals: these may say anything
            bytes[at] &= 0xfe;
        const Case c = decoded(bytes);
        ASSERT_EQ(c.world.mode, Mode::conforming);
        Scope scope(c.world);
        for (const Step& s : c.all()) {
            for (size_t a = 0; a < specs()[s.op].fields.size(); a++) {
                const Shape shape = specs()[s.op].fields[a].shape;
                if (shape == Shape::lie) {
                    ASSERT_EQ(s.arg[a], lie_none);
                } else if (shape == Shape::use) {
                    ASSERT_TRUE(scope.alive(s.arg[a]));
                }
            }
            scope.append(s);
        }
    }
}

TEST(Binary, random_bytes_are_mostly_steps_that_can_run)
{
    Rng rng(27);
    Judge conforming, hostile;
    std::vector<uint64_t> lengths;
    std::array<unsigned, op_count> ops{};
    for (int i = 0; i < 2000; i++) {
        const Case c = decoded(random_bytes(rng, 16 * 33));
        (c.world.mode == Mode::conforming ? conforming : hostile).add(c);
        for (const Step& s : c.all()) {
            ops[s.op]++;
            if (const Layout& l = layouts()[s.op]; l.len != Layout::absent)
                lengths.push_back(s.arg[l.len]);
        }
    }
    std::nth_element(lengths.begin(), lengths.begin() + static_cast<long>(lengths.size() / 2), lengths.end());
    std::printf("[ measured ] steps that can run: conforming %u %%, hostile %u %%; median range %u bytes\n",
                conforming.percent(), hostile.percent(), static_cast<unsigned>(lengths[lengths.size() / 2]));
    EXPECT_GE(conforming.percent(), 75u);
    EXPECT_GE(hostile.percent(), 70u);
    EXPECT_LE(lengths[lengths.size() / 2], 256u);
    for (uint8_t op = 0; op < op_count; op++)
        EXPECT_GE(ops[op] * 300, conforming.steps + hostile.steps)
            << specs()[op].name << " is rarer than a third of a percent";
}

TEST(Binary, erasing_a_few_bytes_keeps_most_steps_meaningful)
{
    Rng rng(28);
    Judge before, after;
    for (int i = 0; i < 2000; i++) {
        auto bytes = encode(decoded(random_bytes(rng, 16 * 33)));
        before.add(decoded(bytes));
        const auto at = static_cast<long>(16 + rng.below(bytes.size() - 16));
        const auto n = static_cast<long>(1 + rng.below(8));
        bytes.erase(bytes.begin() + at, bytes.begin() + std::min(at + n, static_cast<long>(bytes.size())));
        after.add(decoded(bytes));
    }
    std::printf("[ measured ] steps that can run: %u %% before, %u %% after 1 to 8 bytes were erased\n",
                before.percent(), after.percent());
    EXPECT_GE(after.percent(), 70u);
}

TEST(Binary, the_meaning_of_codes_does_not_change)
{
    // Committed corpora depend on it. If this fails because a table changed on purpose, raise the version and re-encode
    // them.
    std::vector<uint8_t> bytes(16 * 15);
    Rng rng(4711);
    for (uint8_t& byte : bytes)
        byte = static_cast<uint8_t>(rng.next() >> 8);
    // Of the ops that were there from the start: an op that is appended changes what larger bytes mean, which nothing
    // that was encoded has, and what is made for a step that lacks its object.
    for (size_t cell = 16; cell < bytes.size(); cell += 16)
        bytes[cell] %= 22;
    EXPECT_EQ(print(decoded(bytes)), R"(# dmaudit case 1
world page=4096 line=64 banks=28K@0xffffffffffff2000 coherent=yes limit=0xffffffffffffffff offset=0x0 mode=conforming
device coherent=yes limit=0xffffffffffffffff offset=0x0
p0 = declare_pool dev=1 size=4096 exclusive=yes
x0 = export_pages at=1
k0 = alloc_from_pool p0 size=2984
w0 = mmap_coherent k0
b0 = buffer size=4053 at=2176
cpu_read k0 off=33 len=128
m0 = map_single_within b0 len=4053 dir=from_device
sync_single_for_cpu k0 len=2984
p1 = declare_pool dev=1 size=1856
k1 = alloc_coherent dev=1 size=7196 align=4096
release_pool p1
device_read k1 len=7196
prefetch b0 len=4053 callback=7
sync_single_for_device m0 len=4053
)");
}

} // namespace
} // namespace dmaudit
