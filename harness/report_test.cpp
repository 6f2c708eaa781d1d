// What people and triage tools read. A report must be the same, byte for byte, wherever and whenever it is made.
#include "harness/report.hpp"
#include "harness/text.hpp"
#include "providers/builtin/builtin.hpp"

#include <gtest/gtest.h>

#include <regex>
#include <string>

namespace dmaudit {
namespace {

Case case_of(const std::string& text)
{
    const Parsed p = parse(text);
    EXPECT_TRUE(p.ok) << p.error.line << ": " << p.error.message;
    return p.value;
}
std::string report_of(const std::string& text, const dmaudit_provider& provider, const ReportOptions& options = {})
{
    Session session;
    const Case c = case_of(text);
    const Result r = execute(c, provider, session);
    return report(c, r, provider, session, options);
}

struct Careless {
    dmaudit_streaming streaming = *builtin_provider().streaming;
    dmaudit_provider provider = builtin_provider();
    Careless()
    {
        provider.name = "careless";
        provider.streaming = &streaming;
        streaming.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t d,
                                  dmaudit_mapping* m) -> int {
            static_cast<uint8_t*>(cpu)[r->size] = 0;
            return builtin_provider().streaming->map_single(ctx, r, cpu, d, m);
        };
    }
    Careless(const Careless&) = delete;
};

const std::string client_case =
    "world banks=64K@0x80000000\nb0 = buffer size=300 at=16\nm0 = map_single b0 off=0 len=300 dir=from_device\n"
    "device_write m0 off=0 len=300 seed=7\ncpu_read b0 off=0 len=8\n";
const std::string provider_case =
    "world banks=64K@0x80000000\nb0 = buffer size=128\ncpu_write b0 len=128\nm0 = map_single b0 len=64 dir=to_device\n";

TEST(Report, of_a_client_s_mistake)
{
    EXPECT_EQ(report_of(client_case, builtin_provider(), {false, "dmaudit run case.dma"}),
              R"(dmaudit.cc:1: ASSERTION FAILED: dmaudit cpu-read-of-device-bytes D.from.s->cpu_read
DEDUP_TOKEN: cpu-read-of-device-bytes--D.from.s--cpu_read

cpu-read-of-device-bytes: the CPU read bytes of a from_device or bidirectional mapping that the device owns
  the client's fault (CWE-567; provider: builtin)

  op 3    cpu_read b0 len=8
  bytes   1 from physical address 0x8000c010
  state   D.from.s: with the device (from_device), written by it

  until then (* concerned 0x8000c010):
  * op 0   b0 = buffer size=300 at=16
  * op 1   m0 = map_single b0 len=300 dir=from_device
  * op 2   device_write m0 len=300 seed=7

  the bytes around it:
    0x00008000bfc0  ................ ................ ................ ................
    0x00008000c000  ................ DDDDDDDDDDDDDDDD DDDDDDDDDDDDDDDD DDDDDDDDDDDDDDDD
                                     ^
    0x00008000c040  DDDDDDDDDDDDDDDD DDDDDDDDDDDDDDDD DDDDDDDDDDDDDDDD DDDDDDDDDDDDDDDD
    (. nobody's, D device's, written by it)

  Sync for the CPU or unmap before reading; look whether the sync covers the byte.

  replay: dmaudit run case.dma
)");
}

TEST(Report, of_a_provider_s_mistake)
{
    const Careless careless;
    EXPECT_EQ(report_of(provider_case, careless.provider),
              R"(dmaudit.cc:1: ASSERTION FAILED: dmaudit corrupts-neighbour C.d->map_single
DEDUP_TOKEN: corrupts-neighbour--C.d--map_single

corrupts-neighbour: a call changed or dropped client bytes that were not its to change, most often beside its range
  the provider's fault (CWE-787; provider: careless)

  op 2    m0 = map_single b0 len=64 dir=to_device
  what    a byte that nobody may have touched has changed: expected 0x35, found 0x0
  bytes   1 from physical address 0x8000c040
  state   C.d: with the CPU, written by it since the last hand-over

  until then (* concerned 0x8000c040):
  * op 0   b0 = buffer size=128
  * op 1   cpu_write b0 len=128

  the bytes around it:
    0x00008000c000  rrrrrrrrrrrrrrrr rrrrrrrrrrrrrrrr rrrrrrrrrrrrrrrr rrrrrrrrrrrrrrrr
    0x00008000c040  WWWWWWWWWWWWWWWW WWWWWWWWWWWWWWWW WWWWWWWWWWWWWWWW WWWWWWWWWWWWWWWW
                    ^
    0x00008000c080  ................ ................ ................ ................
    (r device's, to_device, W CPU's, written, . nobody's)

  Look for copies that are too long, and for an invalidate of dirty bytes: a neighbour's in an edge line, or ones to clean first.
)");
}

TEST(Report, begins_with_the_two_lines_that_triage_tools_read)
{
    const Careless careless;
    for (const std::string& text :
         {report_of(client_case, builtin_provider()), report_of(provider_case, careless.provider),
          report_of(client_case, builtin_provider(), {true, ""})}) {
        const size_t first = text.find('\n'), second = text.find('\n', first + 1);
        EXPECT_TRUE(std::regex_search(text.substr(0, first), std::regex("^[^ ]+:[0-9]+: ASSERTION FAILED: "))) << text;
        EXPECT_TRUE(std::regex_match(text.substr(first + 1, second - first - 1),
                                     std::regex("DEDUP_TOKEN: [a-z-]+--[A-Za-z.]+--[a-z_]+")))
            << text;
        EXPECT_EQ(text.find('\x1b'), text.find('\x1b', second)) << "the key is never coloured";
    }
}

TEST(Report, is_the_same_in_another_session)
{
    const Careless careless;
    EXPECT_EQ(report_of(provider_case, careless.provider), report_of(provider_case, careless.provider));
    Session other; // whose memory lies elsewhere, and which has run other cases
    const Case c = case_of(provider_case), before = case_of(client_case);
    execute(before, builtin_provider(), other);
    const Session keeps_addresses_taken;
    const Result r = execute(c, careless.provider, other);
    EXPECT_EQ(report(c, r, careless.provider, other, {}), report_of(provider_case, careless.provider));
}

TEST(Report, holds_no_host_address)
{
    const Careless careless;
    Session session;
    const auto hex = [](const void* p) {
        char text[32];
        std::snprintf(text, sizeof text, "%zx", reinterpret_cast<size_t>(p) >> 24);
        return std::string(text);
    };
    for (const char* text : {"k0 = alloc_coherent size=100\nfree_coherent k0 lie=interior\n",
                             "k0 = alloc_coherent size=100\nfree_coherent k0\ncpu_write k0 len=1\n"}) {
        const Case c = case_of(text);
        const Result r = execute(c, builtin_provider(), session);
        const std::string out = report(c, r, builtin_provider(), session, {});
        EXPECT_EQ(out.find(hex(session.machine().door())), out.npos) << out;
        EXPECT_EQ(out.find(hex(session.machine().client())), out.npos) << out;
    }
}

TEST(Report, colours_change_nothing_but_colours)
{
    const std::string plain = report_of(client_case, builtin_provider()),
                      coloured = report_of(client_case, builtin_provider(), {true, ""});
    EXPECT_EQ(plain.find('\x1b'), plain.npos);
    EXPECT_NE(coloured.find("\x1b[31mD\x1b[0m"), coloured.npos);
    EXPECT_EQ(std::regex_replace(coloured, std::regex("\x1b\\[[0-9]+m"), ""), plain);
}

TEST(Report, without_a_violation_says_so)
{
    EXPECT_EQ(report_of("b0 = buffer size=1\n", builtin_provider()), "no violation\n");
    EXPECT_EQ(key_of(Case{}, Result{}), BugKey{});
}

TEST(BugKey, is_rule_state_and_op_without_the_initialised_bit)
{
    const Case c = case_of(client_case);
    Session s;
    const BugKey k = key_of(c, execute(c, builtin_provider(), s));
    EXPECT_EQ(k.rule, RuleId::cpu_read_of_device_bytes);
    EXPECT_EQ(k.state, code_of(Dfrom_s));
    EXPECT_EQ(k.op, Ops::index_of<ops::CpuRead>());
    EXPECT_EQ(key_lines(k), "dmaudit.cc:1: ASSERTION FAILED: dmaudit cpu-read-of-device-bytes "
                            "D.from.s->cpu_read\nDEDUP_TOKEN: cpu-read-of-device-bytes--D.from.s--cpu_read\n");
    BugKey end = k;
    end.op = op_count;
    EXPECT_NE(key_lines(end).find("--end\n"), std::string::npos) << "what is found when everything is given back";
}

TEST(BugKey, does_not_depend_on_places_lengths_or_seeds)
{
    Session s;
    const Case a = case_of(client_case);
    const Case b = case_of("world banks=128K@0x40000000 line=32\nb3 = buffer size=900 at=64\nm7 = map_single b3 off=64 "
                           "len=800 dir=from_device\ndevice_write m7 len=800 seed=1\ncpu_read b3 off=70 len=1\n");
    EXPECT_EQ(key_of(a, execute(a, builtin_provider(), s)), key_of(b, execute(b, builtin_provider(), s)));
}

TEST(Report, tells_who_put_the_byte_into_its_state_and_draws_it)
{
    const std::string text =
        report_of("world banks=64K@0x80000000\nb0 = buffer size=64\ncpu_write b0 len=32\nm0 = map_single b0 len=64 "
                  "dir=to_device\ncpu_write b0 off=32 len=1\ndevice_read m0 off=32 len=4\n",
                  builtin_provider());
    EXPECT_NE(text.find("dirty-device-read"), text.npos);
    EXPECT_NE(text.find("op 4    device_read m0 off=32 len=4"), text.npos) << text;
    for (const char* line : {"  * op 0   b0 = buffer size=64\n", "  * op 2   m0 = map_single b0 len=64 dir=to_device\n",
                             "  * op 3   cpu_write b0 off=32 len=1\n"})
        EXPECT_NE(text.find(line), text.npos) << line << text;
    EXPECT_NE(text.find("    op 1   cpu_write b0 len=32\n"), text.npos) << "that op did not touch the byte";
    EXPECT_NE(text.find("rrrrrrrrrrrrrrrr rrrrrrrrrrrrrrrr Hrrrrrrrrrrrrrrr"), text.npos) << text;
    const size_t row = text.find("rrrrrrrrrrrrrrrr rr"), mark = text.find('^');
    ASSERT_TRUE(row != text.npos && mark != text.npos);
    const auto column = [&](size_t at) { return at - text.rfind('\n', at); };
    EXPECT_EQ(column(mark), column(row) + 34) << "under the 33rd byte";
}

TEST(Report, of_something_without_bytes_and_at_the_end_of_a_case)
{
    static uint64_t word;
    dmaudit_provider keeps_lock = builtin_provider();
    keeps_lock.open = [](const dmaudit_platform* p, void** ctx) -> int {
        word = 0;
        p->lock(p->self, &word);
        return builtin_provider().open(p, ctx);
    };
    const std::string text = report_of("b0 = buffer size=1\n", keeps_lock);
    EXPECT_NE(text.find("DEDUP_TOKEN: no-progress--"), text.npos) << text;
    EXPECT_NE(text.find("(at the end: everything is given back)"), text.npos) << text;
    EXPECT_EQ(text.find("bytes "), text.npos) << text;
}

TEST(Report, of_lost_capacity_shows_the_request_that_cannot_be_had_again)
{
    static int left;
    static dmaudit_pool pool = *builtin_provider().pool;
    dmaudit_provider tired = builtin_provider();
    pool.alloc_from = [](void* ctx, uint32_t device, uint64_t size, dmaudit_block* out, int* ours) -> int {
        *ours = 1;
        return left-- > 0 ? builtin_provider().pool->alloc_from(ctx, device, size, out, ours) : int{DMAUDIT_ENOMEM};
    };
    tired.pool = &pool;
    tired.promises &= ~uint64_t{DMAUDIT_PROMISES_FIRST_FIT};
    left = 2;
    const std::string text = report_of("p0 = declare_pool size=16K exclusive=yes\nk0 = alloc_from_pool p0 size=2\n"
                                       "k1 = alloc_from_pool p0 size=1\n",
                                       tired);
    EXPECT_NE(text.find("DEDUP_TOKEN: lost-capacity--"), text.npos) << text;
    EXPECT_NE(text.find("  asked   as in op 1: k0 = alloc_from_pool p0 size=2\n"), text.npos) << text;
}

TEST(Report, says_how_calls_were_refused)
{
    const std::string told = report_of("world banks=64K@0x80000000\nk0 = alloc_coherent size=1M\nb0 = buffer size=64\n"
                                       "m0 = map_single b0 len=64 dir=from_device\ncpu_read b0 len=4\n",
                                       builtin_provider());
    EXPECT_NE(told.find("    op 0   k0 = alloc_coherent size=1048576: ENOMEM (2)\n  * op 1   b0 = buffer size=64\n"),
              told.npos)
        << told;
}

TEST(Report, tells_the_steps_where_a_replay_would_crash)
{
    ReportOptions without;
    without.history = false;
    const std::string told = report_of("world banks=64K@0x80000000\nb0 = buffer size=64\n"
                                       "m0 = map_single b0 len=64 dir=from_device\ncpu_read b0 len=4\n",
                                       builtin_provider(), without);
    EXPECT_NE(told.find("  until then:\n    op 0   b0 = buffer size=64\n    op 1   m0 = map_single"), told.npos)
        << told;
}

// Of a long case only what concerned the byte is told; a step that was skipped never is.
TEST(Report, tells_of_a_long_case_what_concerned_the_byte)
{
    std::string text = "world banks=64K@0x80000000\nb0 = buffer size=64\n";
    for (int i = 0; i < 20; i++)
        text += "cpu_write b0 off=8 len=8\n";
    const std::string told =
        report_of(text + "m0 = map_single b0 len=64 dir=from_device\ncpu_read b0 len=4\n", builtin_provider());
    EXPECT_NE(told.find("  * op 0   b0 = buffer size=64\n  * op 21  m0 = map_single b0 len=64 dir=from_device\n"
                        "    of 22 ops\n"),
              told.npos)
        << told;

    const std::string skipped = report_of("world banks=64K@0x80000000\nb0 = buffer size=64\nb1 = buffer size=64 at=0\n"
                                          "m0 = map_single b0 len=64 dir=from_device\ncpu_read b0 len=4\n",
                                          builtin_provider());
    EXPECT_EQ(skipped.find("op 1 "), skipped.npos) << "its place is taken: " << skipped;
    EXPECT_NE(skipped.find("* op 2 "), skipped.npos) << skipped;
}

TEST(Report, names_result_codes)
{
    static dmaudit_streaming streaming;
    streaming = *builtin_provider().streaming;
    dmaudit_provider provider = builtin_provider();
    provider.streaming = &streaming;
    const std::string text = "world banks=64K@0x80000000\nb0 = buffer size=64\nm0 = map_single b0 dir=to_device\n";
    streaming.unmap_single = [](void*, const dmaudit_mapping*, uint64_t, uint32_t) -> int { return DMAUDIT_EFAULT; };
    EXPECT_NE(report_of(text, provider).find("a legal unmap failed: expected OK (0), found EFAULT (11)\n"), text.npos);
    streaming.unmap_single = [](void*, const dmaudit_mapping*, uint64_t, uint32_t) -> int { return -22; };
    EXPECT_NE(report_of(text, provider).find("found -22, which is no code\n"), text.npos);
}

} // namespace
} // namespace dmaudit
