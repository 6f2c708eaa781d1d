#include "properties/support.hpp"

#include "harness/minimise.hpp"
#include "harness/report.hpp"
#include "harness/text.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fmt/core.h>
#include <fstream>
#include <gtest/gtest.h>
#include <rapidcheck/detail/Configuration.h>
#include <sstream>

// AddressSanitizer's, where the build has it.
extern "C" void __asan_set_death_callback(void (*)(void)) __attribute__((weak));

namespace dmaudit::properties {
namespace {

// What AddressSanitizer stops cannot be minimised in this process: it is told and saved as it is.
const Case* running = nullptr;

void tell_what_was_running()
{
    if (running) {
        Case c = *running;
        c.expect = {};
        const std::string path = save_finding(c);
        std::fprintf(stderr, "%s(the case that was running; %s)\n", print(c).c_str(),
                     path.empty() ? "it could not be saved" : ("saved as " + path).c_str());
    }
}

} // namespace

double scale()
{
    const char* text = std::getenv("DMAUDIT_PROPERTIES_SCALE");
    const double value = text ? std::strtod(text, nullptr) : 1;
    return value > 0 ? value : 1;
}

bool tries_given()
{
    const char* text = std::getenv("RC_PARAMS");
    return text && std::string_view(text).find("max_success") != std::string_view::npos;
}

int tries(int standard)
{
    if (tries_given())
        return rc::detail::configuration().testParams.maxSuccess;
    return std::max(1, static_cast<int>(standard * scale()));
}

void for_all_seeds(int standard, const std::function<void(uint64_t)>& property)
{
    const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
    rc::detail::TestMetadata metadata;
    metadata.id = std::string(info->test_suite_name()) + "/" + info->name();
    metadata.description = info->name();
    rc::detail::TestParams params = rc::detail::configuration().testParams;
    params.maxSuccess = tries(standard);
    const auto result = rc::detail::checkTestable(
        [&] { property(*rc::gen::noShrink(rc::gen::resize(100, rc::gen::arbitrary<uint64_t>()))); }, metadata, params);
    if (result.template is<rc::detail::SuccessResult>())
        return;
    std::ostringstream text;
    rc::detail::printResultMessage(result, text);
    ADD_FAILURE() << text.str();
}

Result Checker::run(const Case& c, Tally* tally)
{
    if (!running && __asan_set_death_callback)
        __asan_set_death_callback(tell_what_was_running);
    running = &c;
    const Result r = execute(c, provider_, session_, tally);
    running = nullptr;
    return r;
}

void Checker::expect_no_violation(const Case& c, Tally* tally)
{
    const Result r = run(c, tally);
    RC_ASSERT(r.open_error == DMAUDIT_OK);
    if (r.violation)
        fail(c, r);
}

Result Checker::expect_no_fault_of_the_provider(const Case& c, Tally* tally)
{
    const Result r = run(c, tally);
    RC_ASSERT(r.open_error == DMAUDIT_OK);
    if (r.violation && rule(r.violation->rule).fault != Fault::client)
        fail(c, r);
    return r;
}

void Checker::fail(const Case& c, const Result& r)
{
    const BugKey key = key_of(c, r);
    Minimised small = minimise(c, [&](const Case& k) { return key_of(k, run(k)) == key; });
    small.value.expect = {Expect::violation, key.rule};
    const std::string path = save_finding(small.value);
    const std::string replay = path.empty() ? "(the case above could not be saved in ./findings)"
                                            : fmt::format("dmaudit run --provider {} {}", provider_.name, path);
    RC_FAIL(fmt::format("{}\n{}\n(minimised from {} steps to {} in {} runs{})", print(small.value),
                        report(small.value, run(small.value), provider_, session_, {false, replay}), c.count,
                        small.value.count, small.tries, small.one_minimal ? "" : "; not proven to be minimal"));
    std::abort(); // RC_FAIL throws
}

std::string save_finding(const Case& c)
{
    const std::string text = print(c);
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a: the name is the content's
    for (const char letter : text)
        hash = (hash ^ static_cast<uint8_t>(letter)) * 0x100000001b3;
    std::error_code ec;
    std::filesystem::create_directories("findings", ec); // if it cannot be made the file cannot be written
    const std::string path =
        fmt::format("findings/{}-{:016x}.dma", c.expect.rule == RuleId::none ? "case" : rule(c.expect.rule).name, hash);
    std::ofstream out(path + ".tmp");
    out << text;
    out.close();
    if (out)
        std::filesystem::rename(path + ".tmp", path, ec);
    return out && !ec ? path : "";
}

} // namespace dmaudit::properties
