// The protocol, end to end: what is legal and which rule is broken.
#include "harness/execute_testing.hpp"

#include <functional>
#include <string>
#include <vector>

namespace dmaudit {
namespace {

// ---- the protocol, end to end: what is legal and which rule is broken ----

struct Scenario {
    const char *name, *steps, *verdict;
};
void expect_verdicts(const std::string& world, const std::vector<Scenario>& all)
{
    for (const Scenario& s : all)
        EXPECT_EQ(run(world + "b0 = buffer size=128\n" + s.steps).found(), s.verdict) << world << s.name;
}

TEST(Protocol, in_every_world)
{
    const std::vector<Scenario> all{
        {"TO; the CPU reads", "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=to_device\ncpu_read b0 len=64\n",
         "clean"},
        {"TO; write; sync; device reads",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=to_device\ncpu_write b0 len=64\nsync_single_for_device "
         "m0 len=64\ndevice_read m0 len=64\n",
         "clean"},
        {"TO; write; device reads",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=to_device\ncpu_write b0 len=64\ndevice_read m0 len=64\n",
         "dirty-device-read"},
        {"TO; write; unmap; read",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=to_device\ncpu_write b0 len=64\nunmap_single "
         "m0\ncpu_read b0 len=128\n",
         "clean"},
        {"FROM; read", "m0 = map_single b0 len=64 dir=from_device\ncpu_read b0 len=1\n", "cpu-read-of-device-bytes"},
        {"FROM; write", "m0 = map_single b0 len=64 dir=from_device\ncpu_write b0 len=1\n", "cpu-write-of-device-bytes"},
        {"BI; for_cpu; read; unmap",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=bidirectional\nsync_single_for_cpu m0 len=64\ncpu_read "
         "b0 len=64\nunmap_single m0\n",
         "clean"},
        {"BI; for_cpu; write; unmap",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=bidirectional\nsync_single_for_cpu m0 len=64\ncpu_write "
         "b0 len=64\nunmap_single m0\n",
         "sync-discards-write"},
        {"the same, unmap SKIP",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=bidirectional\nsync_single_for_cpu m0 len=64\ncpu_write "
         "b0 len=64\nunmap_single m0 attrs=skip\ncpu_read b0 len=64\n",
         "clean"},
        {"FROM; for_cpu; write; for_device; unmap; read",
         "m0 = map_single b0 len=64 dir=from_device\nsync_single_for_cpu m0 len=64\ncpu_write b0 "
         "len=64\nsync_single_for_device m0 len=64\nunmap_single m0\ncpu_read b0 len=1\n",
         "read-of-unwritten"},
        {"BI; device writes; for_device",
         "m0 = map_single b0 len=64 dir=bidirectional\ndevice_write m0 len=64\nsync_single_for_device m0 len=64\n",
         "sync-discards-write"},
        {"FROM; device writes; for_device; for_cpu; read",
         "m0 = map_single b0 len=64 dir=from_device\ndevice_write m0 len=64\nsync_single_for_device m0 "
         "len=64\nsync_single_for_cpu m0 len=64\ncpu_read b0 len=64\n",
         "clean"},
        {"FROM; device writes a part; the rest keeps its value",
         "cpu_write b0 len=128\nm9 = map_single b0 len=64 dir=to_device\nunmap_single m9\nm0 = map_single b0 len=64 "
         "dir=from_device\ndevice_write m0 off=3 len=10\nunmap_single m0\ncpu_read b0 len=128\n",
         "clean"},
        {"partial sync",
         "m0 = map_single b0 len=64 dir=from_device\ndevice_write m0 len=64\nsync_single_for_cpu m0 len=8\ncpu_read b0 "
         "len=8\ncpu_read b0 off=8 len=1\n",
         "cpu-read-of-device-bytes"},
        {"sync without length", "m0 = map_single b0 len=64 dir=from_device\nsync_single_for_cpu m0 off=64 len=0\n",
         "clean"},
        {"sync beyond", "m0 = map_single b0 len=64 dir=from_device\nsync_single_for_cpu m0 off=64 len=1\n",
         "sync-outside"},
        {"sync that wraps",
         "m0 = map_single b0 len=64 dir=from_device\nsync_single_for_cpu m0 off=1 len=0xffffffffffffffff\n",
         "bad-length"},
        {"BI; for_cpu(to)",
         "m0 = map_single b0 len=64 dir=bidirectional\nsync_single_for_cpu m0 len=64 dir=to_device\n",
         "sync-without-effect"},
        {"TO; for_cpu(from)",
         "m0 = map_single b0 len=64 dir=to_device\nsync_single_for_cpu m0 len=64 dir=from_device\n", "wrong-direction"},
        {"TO twice, for_cpu of one, write",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=to_device\nm1 = map_single b0 len=64 "
         "dir=to_device\nsync_single_for_cpu m0 len=64\ncpu_write b0 len=1\n",
         "cpu-write-of-device-bytes"},
        {"TO over FROM", "m0 = map_single b0 len=64 dir=from_device\nm1 = map_single b0 off=63 len=1 dir=to_device\n",
         "overlapping-mapping"},
        {"device reads TO without a value", "m0 = map_single b0 len=64 dir=to_device\ndevice_read m0 len=1\n",
         "uninitialised-to-device"},
        {"device writes TO", "m0 = map_single b0 len=64 dir=to_device\ndevice_write m0 len=1\n",
         "device-wrong-direction"},
        {"map SKIP of dirty bytes; device reads",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=to_device attrs=skip\ndevice_read m0 len=1\n",
         "dirty-device-read"},
        {"map SKIP of dirty bytes; sync; device reads",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=to_device attrs=skip\nsync_single_for_device m0 "
         "len=64\ndevice_read m0 len=64\n",
         "clean"},
        {"FROM; device writes; unmap SKIP; read",
         "m0 = map_single b0 len=64 dir=from_device\ndevice_write m0 len=64\nunmap_single m0 attrs=skip\ncpu_read b0 "
         "len=1\n",
         "stale-cpu-read"},
        {"FROM; device writes; unmap SKIP; write; read",
         "m0 = map_single b0 len=64 dir=from_device\ndevice_write m0 len=64\nunmap_single m0 attrs=skip\ncpu_write b0 "
         "len=128\ncpu_read b0 len=128\n",
         "clean"},
        {"used",
         "m0 = map_single b0 len=64 dir=from_device\ndevice_write m0 len=10\nunmap_single m0 used=10\ncpu_read b0 "
         "len=10\n",
         "clean"},
        {"more used than mapped", "m0 = map_single b0 len=64 dir=from_device\nunmap_single m0 used=65\n", "bad-length"},
        {"no direction", "m0 = map_single b0 len=64 dir=none\n", "wrong-direction"},
        {"no bytes", "m0 = map_single b0 len=0 dir=to_device\nk0 = alloc_coherent size=0\n", "clean"},
        {"freed while mapped", "m0 = map_single b0 len=64 dir=to_device\nfree_buffer b0\n", "free-while-mapped"},
        {"unmapped twice", "m0 = map_single b0 len=64 dir=to_device\nunmap_single m0\nunmap_single m0\n",
         "double-free"},
        {"late write, not reused", "k0 = alloc_coherent size=100\nfree_coherent k0\ndevice_write k0 len=1\n",
         "use-after-free"},
        {"late write, reused",
         "k0 = alloc_coherent size=100\nfree_coherent k0\nk1 = alloc_coherent size=100\ndevice_write k0 len=1\n",
         "wrong-identity"},
        {"sync of coherent memory", "k0 = alloc_coherent size=100\nsync_single_for_cpu k0 len=1\n", "wrong-kind"},
        {"map of coherent memory", "k0 = alloc_coherent size=100 zero=yes\nm0 = map_single k0 len=1 dir=to_device\n",
         "wrong-kind"},
        {"coherent: both use it without sync",
         "k0 = alloc_coherent size=100\ncpu_write k0 len=100\ndevice_read k0 len=100\ndevice_write k0 "
         "len=100\ncpu_read k0 len=100\n",
         "clean"},
        {"the tail of a block",
         "p0 = declare_pool size=16K\nk0 = alloc_from_pool p0 size=100\ncpu_read k0 off=100 len=1\n", "out-of-bounds"},
        {"the tail of a block by window",
         "p0 = declare_pool size=16K\nk0 = alloc_from_pool p0 size=100\nw0 = mmap_from_pool k0 pages=1\ncpu_read w0 "
         "off=100 len=1\n",
         "clean"},
        {"a pool released with live blocks",
         "p0 = declare_pool size=16K\nk0 = alloc_from_pool p0 size=100\nrelease_pool p0\n", "leak"},
        {"handed to the CPU while shared, handed back alone",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=to_device\nm1 = map_single b0 len=64 "
         "dir=to_device\nsync_single_for_cpu m0 len=64\nunmap_single m1\nsync_single_for_device m0 len=64\ndevice_read "
         "m0 len=64\n",
         "clean"},
    };
    for (const char* world :
         {"world banks=64K@0x80000000\n", "world banks=64K@0x80000000 coherent=yes\n",
          "world banks=64K@0x80000000 limit=0x8000bfff\n", "world banks=64K@0x80000000 limit=0x8000bfff coherent=yes\n",
          "world page=16384 line=256 banks=1M@0x80000000\n"})
        expect_verdicts(world, all);
}

TEST(Protocol, lines_matter_only_to_devices_that_do_not_snoop)
{
    const std::vector<Scenario> nc{
        {"half a line with the CPU",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=bidirectional\nsync_single_for_cpu m0 len=32\ncpu_write "
         "b0 len=32\n",
         "dirty-line-over-device-data"},
        {"two bytes written, one handed over",
         "cpu_write b0 len=128\nm0 = map_single b0 len=64 dir=bidirectional\nsync_single_for_cpu m0 len=64\ncpu_write "
         "b0 off=4 len=1\ncpu_write b0 off=6 len=1\nsync_single_for_device m0 off=4 len=1\n",
         "dirty-line-over-device-data"},
        {"header and status in a line",
         "m0 = map_single b0 len=16 dir=to_device\nm1 = map_single b0 off=16 len=1 dir=from_device\n",
         "shared-cache-line"},
        {"another buffer in the line",
         "b1 = buffer size=16 at=128\nb2 = buffer size=16 at=144\nm0 = map_single b1 len=16 dir=from_device\n",
         "shared-cache-line"},
        {"a byte before the mapping", "m0 = map_single b0 off=2 len=62 dir=from_device\ncpu_write b0 len=1\n",
         "dirty-line-over-device-data"},
        {"invalidate beside somebody's dirty bytes",
         "b1 = buffer size=16 at=128\nb2 = buffer size=16 at=144\ncpu_write b2 len=16\ncache b1 len=16 op=invalidate\n",
         "invalidate-destroys-neighbour"},
    };
    std::vector<Scenario> coherent = nc;
    for (Scenario& s : coherent)
        s.verdict = "clean";
    coherent.back().verdict = "invalidate-destroys-neighbour"; // the CPU's own cache
    expect_verdicts("world banks=64K@0x80000000\n", nc);
    expect_verdicts("world banks=64K@0x80000000 coherent=yes\n", coherent);
    expect_verdicts("world banks=64K@0x80000000 limit=0x8000bfff\n", nc); // bounced or not
}

} // namespace
} // namespace dmaudit
