#include "harness/scope_testing.hpp"
#include "harness/text.hpp"
#include <gtest/gtest.h>

namespace dmaudit {
namespace {

constexpr std::string_view example = R"(# dmaudit case 1
world coherent=no page=4096 line=64 banks=1M@0x80000000 limit=0xffffffff
b0 = buffer size=300 at=16
m0 = map_single b0 off=0 len=300 dir=from_device
device_write m0 off=0 len=300 seed=7
cpu_read b0 off=0 len=8
expect cpu-read-of-device-bytes
)";

std::string error(std::string_view text)
{
    const Parsed p = parse(text);
    EXPECT_FALSE(p.ok) << text;
    return std::to_string(p.error.line) + ": " + p.error.message;
}
std::string canonical(std::string_view text)
{
    const Parsed p = parse(text);
    EXPECT_TRUE(p.ok) << p.error.line << ": " << p.error.message << "\n" << text;
    return print(p.value);
}

TEST(Text, the_example_of_the_documentation_parses)
{
    EXPECT_EQ(canonical(example), R"(# dmaudit case 1
world page=4096 line=64 banks=1M@0x80000000 coherent=no limit=0xffffffff offset=0x0
b0 = buffer size=300 at=16
m0 = map_single b0 len=300 dir=from_device
device_write m0 len=300 seed=7
cpu_read b0 len=8
expect cpu-read-of-device-bytes
)");
}

TEST(Text, everything_may_be_left_out_that_has_a_default)
{
    EXPECT_EQ(
        canonical(""),
        "# dmaudit case 1\nworld page=4096 line=64 banks=256K@0x80000000 coherent=no limit=0xffffffff offset=0x0\n");
    const Parsed p =
        parse("b5 = buffer size=1K\n\n  # nothing\ncpu_write b5 off=24 # all but the first bytes\r\nexpect clean");
    ASSERT_TRUE(p.ok);
    EXPECT_EQ(p.value.world, World{});
    EXPECT_EQ(p.value.expect, (Expect{Expect::clean, RuleId::none}));
    ASSERT_EQ(p.value.count, 2);
    EXPECT_EQ(print(p.value.steps[0]), "b5 = buffer size=1024");
    EXPECT_EQ(print(p.value.steps[1]), "cpu_write b5 off=24 len=1000");
}

TEST(Text, order_of_keys_and_spaces_around_the_equals_sign_do_not_matter)
{
    EXPECT_EQ(canonical("b0=buffer at = 0x10 size =300\nm0 =map_single dir=from_device b0\nunmap_single lie=size+1 m0"),
              canonical("b0 = buffer size=300 at=16\nm0 = map_single b0 off=0 len=300 dir=from_device\nunmap_single m0 "
                        "lie=size+1"));
}

TEST(Text, worlds_with_more_banks_and_devices)
{
    const std::string text = "# dmaudit case 1\n"
                             "world page=16384 line=128 banks=64K@0x0,65K@0x100000000 coherent=yes limit=0xffffff "
                             "offset=0x1000 mode=conforming\n"
                             "device coherent=no limit=0xffffffffffffffff offset=0x0\n";
    EXPECT_EQ(error(text), "3: this world cannot be built: banks must begin and end on page boundaries");
    const std::string good = std::string(text).replace(text.find("65K"), 3, "96K");
    EXPECT_EQ(canonical(good), good);
}

TEST(Text, an_argument_without_a_word_of_its_own_prints_as_a_number)
{
    const std::string text =
        canonical("b0 = buffer size=18446744073709551615\nm0 = map_single b0 off=0xfffffffffffffff0 dir=77 dev=9\n");
    EXPECT_NE(text.find("size=0xffffffffffffffff"), text.npos);
    EXPECT_NE(text.find("m0 = map_single b0 off=0xfffffffffffffff0 len=15 dir=77 dev=9"), text.npos);
}

TEST(Text, errors_say_the_line_what_was_expected_and_what_was_found)
{
    const std::string b = "b0 = buffer size=300\n";
    EXPECT_EQ(error("# dmaudit case 2\n"), "1: this is version 1 of the case format, found version '2'");
    EXPECT_EQ(error(b + "cpu_raed b0\n"), "2: unknown op 'cpu_raed' (did you mean 'cpu_read'?)");
    EXPECT_EQ(error(b + "zzzzzzzzzz b0\n"), "2: unknown op 'zzzzzzzzzz' (`dmaudit explain ops` lists all)");
    EXPECT_EQ(error(b + "cpu_read b0 ofs=1\n"), "2: 'cpu_read' has no key 'ofs'; its keys are: off len");
    EXPECT_EQ(error("b0 = buffer at=1\n"), "1: 'buffer' needs 'size='");
    EXPECT_EQ(error("b0 = buffer size=12x\n"),
              "1: expected a number (decimal, 0x hex, K or M) for 'size', found '12x'");
    EXPECT_EQ(error("b0 = buffer size=-1\n"), "1: expected a number (decimal, 0x hex, K or M) for 'size', found '-1'");
    EXPECT_EQ(error("b0 = buffer size=18446744073709551616\n"),
              "1: the number for 'size' is too large: '18446744073709551616' does not fit in 64 bits");
    EXPECT_EQ(error("b0 = buffer size=18446744073709551615K\n"),
              "1: the number for 'size' is too large: '18446744073709551615K' does not fit in 64 bits");
    EXPECT_EQ(error("cpu_read b3\n"), "1: the name 'b3' is not defined by an earlier line");
    EXPECT_EQ(error(b + b), "2: the name 'b0' is defined twice; names are never reused");
    EXPECT_EQ(error(b + "unmap_single b0\n"), "2: expected the name of a mapping (m) after 'unmap_single', found 'b0'");
    EXPECT_EQ(error("m0 = buffer size=1\n"), "1: expected the name of a buffer (b) before '=', found 'm0'");
    EXPECT_EQ(error("b256 = buffer size=1\n"),
              "1: expected the name of a buffer (b) before '=', with a number below 256, found 'b256'");
    EXPECT_EQ(error("b01 = buffer size=1\n"),
              "1: expected the name of a buffer (b) before '=', with a number below 256, found 'b01'");
    EXPECT_EQ(error("buffer size=1\n"), "1: 'buffer' defines a buffer (b): expected 'bN = buffer ...'");
    EXPECT_EQ(error(b + "b1 = free_buffer b0\n"), "2: 'free_buffer' defines no name, found 'b1' before '='");
    EXPECT_EQ(error("free_buffer\n"), "1: 'free_buffer' needs the name of a buffer (b)");
    EXPECT_EQ(error(b + "free_buffer b0 b0\n"), "2: expected key=value in 'free_buffer', found 'b0'");
    EXPECT_EQ(error(b + "m0 = map_single b0 dir=sideways\n"),
              "2: expected one of bidirectional, to_device, from_device, none for 'dir', found 'sideways'");
    EXPECT_EQ(error(b + "cpu_read b0 off=1 off=2\n"), "2: 'off' is given twice");
    EXPECT_EQ(error(b + "cpu_read b0 off=301\n"), "2: 'len' is left out, but 'off' is past the end of b0 (300 bytes)");
    EXPECT_EQ(error(b + "cpu_read b0 off=\n"), "2: expected a value after 'off='");
    EXPECT_EQ(error(b + "cpu_read b0 off = = 1\n"), "2: expected a value after 'off='");
    EXPECT_EQ(error("b0 =\n"), "1: expected an op after '=', found nothing");
    EXPECT_EQ(error("= buffer\n"), "1: expected a name or an op, found '='");
    EXPECT_EQ(error("expect clean\n" + b), "2: 'expect' must be the last line; found the op 'buffer' after it");
    EXPECT_EQ(error("expect clean\nexpect clean\n"), "2: 'expect' is given twice");
    EXPECT_EQ(error("expect double-fre\n"),
              "1: expected 'clean' or the name of a rule, found 'double-fre' (did you mean 'double-free'?)");
    EXPECT_TRUE(error("expect none\n").starts_with("1: expected 'clean' or the name of a rule, found 'none'"));
    EXPECT_EQ(error("expect\n"), "1: expected 'expect clean' or 'expect RULE'");
    EXPECT_EQ(error(b + "world page=4096\n"), "2: 'world' must stand before the first op");
    EXPECT_EQ(error("world\nworld\n"), "2: 'world' is given twice");
    EXPECT_EQ(error("device\nworld\n"), "2: 'world' must stand before 'device'");
    EXPECT_EQ(error("device\ndevice\ndevice\ndevice\n"), "4: a world has at most 4 devices");
    EXPECT_EQ(
        error("world pages=1\n"),
        "1: 'world' has no key 'pages'; its keys are: page line banks coherent limit offset iommu mode check_errors "
        "weak_order single_fetch untrusted");
    EXPECT_EQ(error("world mode=kind\n"), "1: expected hostile or conforming for 'mode', found 'kind'");
    EXPECT_EQ(error("world banks=16K\n"), "1: expected size@address for a bank, found '16K'");
    EXPECT_EQ(error("world banks=16K@0,16K@1M,16K@2M,16K@3M,16K@4M\n"), "1: a world has at most 4 banks");
    EXPECT_EQ(error("\nworld line=48\n" + b),
              "2: this world cannot be built: line must be a power of two from 16 to 256 bytes");
}

TEST(Text, what_is_quoted_is_short_and_printable)
{
    const std::string e = error("\x1b[31m" + std::string(1000, 'a') + "\n");
    EXPECT_LT(e.size(), 120u);
    EXPECT_EQ(e.find('\x1b'), e.npos);
}

TEST(Text, there_are_limits)
{
    std::string many;
    for (unsigned i = 0; i < max_steps; i++)
        many += "fail\n";
    EXPECT_TRUE(parse(many).ok);
    EXPECT_EQ(error(many + "fail\n"), "129: a case has at most 128 steps");
    EXPECT_TRUE(parse("#" + std::string(max_text_line - 1, ' ')).ok);
    EXPECT_EQ(error("\n#" + std::string(max_text_line, ' ')), "2: a line has at most 4096 characters");
    EXPECT_TRUE(parse(std::string(max_text, '\n')).ok);
    EXPECT_EQ(error(std::string(max_text + 1, '\n')), "0: a case has at most 1048576 bytes of text");
}

TEST(Text, parse_gives_back_what_print_wrote)
{
    Rng rng(11);
    for (int i = 0; i < 2000; i++) {
        const Case c = testing::wild_case(rng);
        const std::string text = print(c);
        const Parsed p = parse(text);
        ASSERT_TRUE(p.ok) << p.error.line << ": " << p.error.message << "\n" << text;
        ASSERT_EQ(p.value, c) << text;
        ASSERT_EQ(print(p.value), text);
    }
}

TEST(Text, damaged_text_parses_or_fails_but_never_gives_an_invalid_case)
{
    Rng rng(12);
    constexpr std::string_view alphabet = "=#@,bmkpw0 1\n\t\rx-";
    unsigned parsed = 0;
    for (int i = 0; i < 4000; i++) {
        std::string text = rng.chance(1, 2) ? print(testing::wild_case(rng)).substr(0, 400) : std::string(example);
        for (uint64_t k = rng.below(4); k < 4 && !text.empty(); k++) {
            const size_t at = rng.below(text.size());
            const char ch = rng.chance(1, 4) ? static_cast<char>(rng.below(256)) : alphabet[rng.below(alphabet.size())];
            if (rng.chance(1, 3))
                text.erase(at, rng.below(9));
            else if (rng.chance(1, 2))
                text.insert(at, 1, ch);
            else
                text[at] = ch;
        }
        const Parsed p = parse(text);
        parsed += p.ok;
        if (p.ok) {
            ASSERT_EQ(case_error(p.value), "") << text;
            ASSERT_EQ(parse(print(p.value)).value, p.value) << text;
        } else {
            ASSERT_FALSE(p.error.message.empty());
        }
    }
    EXPECT_GT(parsed, 100u) << "the damage must not always be fatal, or the test shows little";
}

} // namespace
} // namespace dmaudit
