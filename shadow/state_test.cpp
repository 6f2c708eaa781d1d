// The code of a byte's state, and the names that bug keys and people read.
#include "shadow/state.hpp"

#include <gtest/gtest.h>

#include <cctype>
#include <set>
#include <string>

namespace dmaudit {
namespace {

TEST(StateCode, keeps_owner_direction_cache_and_initialised_apart)
{
    std::set<uint8_t> codes;
    for (unsigned o = 0; o < 7; o++)
        for (unsigned d = 0; d < 4; d++)
            for (unsigned c = 0; c < 3; c++)
                for (const bool init : {false, true}) {
                    const uint8_t code =
                        state_code(static_cast<Owner>(o), static_cast<Direction>(d), static_cast<CacheState>(c), init);
                    EXPECT_TRUE(codes.insert(code).second);
                    EXPECT_EQ(owner_of(code), static_cast<Owner>(o));
                    EXPECT_EQ(direction_of(code), static_cast<Direction>(d));
                    EXPECT_EQ(cache_of(code), static_cast<CacheState>(c));
                    EXPECT_EQ(is_initialised(code), init);
                    EXPECT_NE(code, 0xff) << "reserved for mixed";
                }
}

TEST(StateCode, an_empty_byte_of_nobody_is_zero)
{
    EXPECT_EQ(code_of(N), 0);
}

TEST(StateName, each_declared_state_has_its_own_name_and_words)
{
    std::set<std::string> names, texts;
    for (unsigned i = 0; i < state_count; i++) {
        const uint8_t code = code_of(static_cast<State>(1u << i));
        const std::string name(state_name(code)), text(state_text(code));
        EXPECT_TRUE(names.insert(name).second) << name;
        EXPECT_TRUE(texts.insert(text).second) << text;
        EXPECT_EQ(state_name(code | initialised), name) << "a bug key does not tell initialised bytes apart";
        EXPECT_LE(name.size(), 8u);
        for (const char c : name)
            EXPECT_TRUE(std::isalpha(static_cast<unsigned char>(c)) || c == '.')
                << name << ": keys are split at dashes";
    }
}

TEST(StateName, says_owner_direction_and_who_wrote)
{
    EXPECT_EQ(state_name(code_of(C_c)), "C");
    EXPECT_EQ(state_name(code_of(C_s)), "C.s");
    EXPECT_EQ(state_name(code_of(Hto_d)), "H.to.d");
    EXPECT_EQ(state_name(code_of(Dfrom_s)), "D.from.s");
    EXPECT_EQ(state_name(code_of(Dbi_c)), "D.bi");
    EXPECT_EQ(state_name(code_of(M_d)), "M.d");
    EXPECT_EQ(state_name(code_of(PAD)), "PAD");
    EXPECT_EQ(state_name(code_of(O)), "O");
}

TEST(StateName, an_undeclared_code_is_not_given_another_ones_name)
{
    EXPECT_EQ(state_name(0xff), "undeclared");
    EXPECT_EQ(state_name(0x07), "undeclared") << "no such owner";
    EXPECT_EQ(state_name(state_code(Owner::opaque, Direction::to)), "undeclared");
    EXPECT_EQ(state_name(state_code(Owner::device, Direction::to, CacheState::cpu_wrote)), "undeclared");
    EXPECT_EQ(state_text(0xff), "in no declared state");
}

} // namespace
} // namespace dmaudit
