#include "harness/literal.hpp"
#include "harness/text.hpp"
#include <gtest/gtest.h>

// The golden text below is also compiled: what a reader pastes into a test must build the same case.
#define AS_TEXT_(...) #__VA_ARGS__
#define AS_TEXT(...) AS_TEXT_(__VA_ARGS__)

#define EXAMPLE                                                                                                        \
    dmaudit::Case example()                                                                                            \
    {                                                                                                                  \
        using namespace dmaudit;                                                                                       \
        Case c;                                                                                                        \
        c.world.page = 4096u;                                                                                          \
        c.world.line = 64u;                                                                                            \
        c.world.mode = Mode::hostile;                                                                                  \
        c.world.n_banks = 1;                                                                                           \
        c.world.banks[0] = {0x80000000u, 0x100000u};                                                                   \
        c.world.n_devices = 2;                                                                                         \
        c.world.devices[0] = {0xffffffffu, 0u, 0u, 0u};                                                                \
        c.world.devices[1] = {0xffffffffffffffffu, 4096u, 1u, 0u};                                                     \
        c.push({*op_named("buffer"), {name_of(obj_buffer, 0), 300u, 16u, 0u}});                                        \
        c.push(                                                                                                        \
            {*op_named("map_single"), {name_of(obj_mapping, 0), name_of(obj_buffer, 0), 0u, 300u, 2u, 0u, 0u, 0u}});   \
        c.push({*op_named("unmap_single"), {name_of(obj_mapping, 0), 0xffffffffffffffffu, 0u, 1u}});                   \
        c.push({*op_named("fail"), {2u}});                                                                             \
        c.expect = {Expect::violation, *rule_named("free-mismatch")};                                                  \
        return c;                                                                                                      \
    }

namespace {

EXAMPLE

std::string squeezed(std::string_view s) // without comments and white space
{
    std::string out;
    for (size_t i = 0; i < s.size(); i++) {
        if (s.substr(i, 2) == "//")
            i = std::min(s.find('\n', i), s.size() - 1);
        if (s[i] != ' ' && s[i] != '\n')
            out += s[i];
    }
    return out;
}

TEST(Literal, the_printed_source_compiles_and_builds_the_same_case)
{
    using namespace dmaudit;
    const Parsed p =
        parse("world banks=1M@0x80000000\ndevice coherent=yes limit=0xffffffffffffffff offset=0x1000\nb0 = buffer "
              "size=300 at=16\n"
              "m0 = map_single b0 dir=from_device\nunmap_single m0 lie=size-1\nfail nth=2\nexpect free-mismatch\n");
    ASSERT_TRUE(p.ok) << p.error.message;
    EXPECT_EQ(example(), p.value);
    EXPECT_EQ(squeezed(cpp_literal(p.value)), squeezed(AS_TEXT(EXAMPLE)));
}

TEST(Literal, each_step_carries_its_text)
{
    using namespace dmaudit;
    const Parsed p = parse("b0 = buffer size=8\nexpect clean\n");
    EXPECT_EQ(cpp_literal(p.value, "small"),
              "dmaudit::Case small()\n"
              "{\n"
              "    using namespace dmaudit;\n"
              "    Case c;\n"
              "    c.world.page = 4096u;\n"
              "    c.world.line = 64u;\n"
              "    c.world.mode = Mode::hostile;\n"
              "    c.world.n_banks = 1;\n"
              "    c.world.banks[0] = {0x80000000u, 0x40000u}; // address, bytes\n"
              "    c.world.n_devices = 1;\n"
              "    c.world.devices[0] = {0xffffffffu, 0u, 0u, 0u}; // limit, offset, coherent, iommu\n"
              "    c.push({*op_named(\"buffer\"), {name_of(obj_buffer, 0), 8u, 0u, 0u}}); // b0 = buffer size=8\n"
              "    c.expect = {Expect::clean, RuleId::none};\n"
              "    return c;\n"
              "}\n");
}

} // namespace
