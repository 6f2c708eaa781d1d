// The two forms of a case. Text: what parses, prints, and that parses to the same case. Bytes: everything decodes, and
// what was decoded encodes to bytes that mean the same.
#include "harness/binary.hpp"
#include "harness/scope.hpp"
#include "harness/text.hpp"

#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace dmaudit {
namespace {

void require(bool holds, const char* property)
{
    if (holds)
        return;
    std::fprintf(stderr, "dmaudit.cc:1: ASSERTION FAILED: dmaudit case_format %s\nDEDUP_TOKEN: case_format--%s\n",
                 property, property);
    std::abort();
}

void round_trips(const Case& c)
{
    require(case_error(c).empty(), "what was read is valid");
    const std::string text = print(c);
    const Parsed back = parse(text);
    require(back.ok, "what was printed parses");
    require(back.value == c, "parse of print is the same case");
    require(print(back.value) == text, "the printed form is stable");
    const std::vector<uint8_t> bytes = encode(c);
    require(!bytes.empty() && bytes.size() <= max_encoded, "every valid case encodes");
    Case decoded;
    decode(bytes, decoded);
    require(decoded == c, "decode of encode is the same case");
}

} // namespace
} // namespace dmaudit

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    using namespace dmaudit;
    if (const Parsed p = parse({reinterpret_cast<const char*>(data), size}); p.ok)
        round_trips(p.value);
    else
        require(!p.error.message.empty(), "an error says what is wrong");
    Case c;
    decode({data, size}, c);
    round_trips(c);
    return 0;
}
