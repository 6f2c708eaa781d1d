// Blocks without a CPU mapping, windows onto coherent blocks of every kind, and what an IOMMU still translates.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

constexpr uint64_t no_kernel_mapping = usual | DMAUDIT_PROMISES_NO_KERNEL_MAPPING;

// The rule that an opaque block of `size` bytes breaks whose provider then lies.
std::string opaque_breaks(const std::function<void(Audited&, dmaudit_block&)>& lie, uint64_t size = page,
                          uint64_t promises = no_kernel_mapping)
{
    Audited t(promises);
    t.provider.block_lies([&](dmaudit_block& b) { lie(t, b); });
    t.opaque(size);
    return t.found();
}

TEST(Opaque, a_right_one_is_accepted_and_the_client_gets_a_token)
{
    Audited t(no_kernel_mapping);
    const auto b = t.opaque(5000), c = t.opaque(100);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.state(0), "O");
    EXPECT_EQ(t.state(4999), "O");
    EXPECT_EQ(t.state(5000), "PAD");
    const auto* cpu = static_cast<const uint8_t*>(b.cpu);
    EXPECT_NE(cpu, nullptr);
    EXPECT_NE(b.cpu, c.cpu);
    EXPECT_FALSE(cpu >= t.machine.client.data() && cpu < t.machine.client.data() + ram_bytes);
    EXPECT_FALSE(cpu >= t.machine.ram.data() && cpu < t.machine.ram.data() + ram_bytes);
    EXPECT_EQ(b.bus, t.machine.bus(nc, 0));
    EXPECT_EQ(t.auditor.as_client_sees(Audited::tag(b)).cpu, b.cpu);
}

TEST(Opaque, wrong_return_if_it_has_a_cpu_address)
{
    const auto with_address = [](Audited& t, dmaudit_block& b) { b.cpu = t.machine.ram.data(); };
    EXPECT_EQ(opaque_breaks(with_address), "wrong-return");
    EXPECT_EQ(opaque_breaks([](Audited&, dmaudit_block&) {}), "nothing");
    Audited t; // who never promised may ignore the attribute
    t.opaque(page);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.state(0), "S");
}

TEST(Opaque, wrong_translation_if_the_device_address_leads_nowhere)
{
    EXPECT_EQ(opaque_breaks([](Audited&, dmaudit_block& b) { b.bus = 0; }), "wrong-translation");
    EXPECT_EQ(opaque_breaks([](Audited& t, dmaudit_block& b) { b.bus = t.machine.bus(nc, ram_bytes - 1); }),
              "wrong-translation")
        << "all but its first byte";
    EXPECT_EQ(opaque_breaks([](Audited& t, dmaudit_block& b) { b.bus = t.machine.bus(nc, client_at); }),
              "outside-arena");
}

TEST(Opaque, is_judged_like_any_other_block)
{
    EXPECT_EQ(opaque_breaks([](Audited&, dmaudit_block& b) { b.granted = 10; }), "short-block");
    EXPECT_EQ(opaque_breaks([](Audited& t, dmaudit_block&) { t.machine.uncached_at.clear(); }), "not-coherent");
    Audited t(no_kernel_mapping);
    t.opaque(page);
    t.provider.next = 0;
    t.opaque(page);
    EXPECT_EQ(t.found(), "overlap");
}

TEST(Opaque, is_not_zeroed_by_contract)
{
    EXPECT_EQ(opaque_breaks([](Audited& t, dmaudit_block&) { t.machine.ram[3] = 1; }), "nothing");
}

TEST(Opaque, opaque_dereference_by_the_cpu_but_not_by_a_device_or_a_window)
{
    Audited t(no_kernel_mapping);
    const auto b = t.opaque(page);
    EXPECT_FALSE(t.auditor.cpu_access(Audited::tag(b), 0, 1, false));
    EXPECT_EQ(t.take(), "opaque-dereference");
    EXPECT_FALSE(t.auditor.cpu_access(Audited::tag(b), page - 1, 1, true));
    EXPECT_EQ(t.take(), "opaque-dereference");
    EXPECT_FALSE(t.auditor.cpu_access(Audited::tag(b), page, 1, true));
    EXPECT_EQ(t.take(), "out-of-bounds") << "the range before the byte table";
    EXPECT_TRUE(t.writes(dmaudit_mapping{0, nc, nullptr, 0, 0, 0, 0, {b.cookie[0], 0}}, 0, 64));
    const Tag w = t.view(b, 0, 1);
    EXPECT_TRUE(t.auditor.cpu_access(w, 0, 64, false)) << "written by the device";
    EXPECT_FALSE(t.auditor.cpu_access(w, 0, 65, false));
    EXPECT_EQ(t.take(), "read-of-unwritten");
    EXPECT_TRUE(t.auditor.cpu_access(w, 64, 64, true));
    EXPECT_TRUE(t.auditor.device_access(nc, Audited::tag(b), 64, 64, false));
    EXPECT_FALSE(t.auditor.device_access(nc, Audited::tag(b), 128, 1, false));
    EXPECT_EQ(t.take(), "uninitialised-to-device");
}

TEST(Opaque, wrong_kind_where_it_is_mapped_or_synced)
{
    Audited t(no_kernel_mapping);
    const auto b = t.opaque(page);
    EXPECT_EQ(t.auditor.sync_noncoherent(b, 0, 8, bi, DMAUDIT_FOR_CPU), Auditor::withheld);
    EXPECT_EQ(t.take(), "wrong-kind");
    dmaudit_mapping m{};
    EXPECT_EQ(t.auditor.map_single(one_page, t.machine.client.data(), to, &m), Auditor::withheld)
        << "who guessed where it lies";
    EXPECT_EQ(t.take(), "wrong-kind");
    EXPECT_EQ(t.auditor.free_noncoherent(b, bi), Auditor::withheld);
    EXPECT_EQ(t.take(), "wrong-kind");
}

TEST(OpaqueDeathTest, a_token_faults_at_once_wherever_it_is_touched)
{
    Audited t(usual | DMAUDIT_PROMISES_NO_KERNEL_MAPPING);
    const dmaudit_block one = t.opaque(5000), other = t.opaque(64);
    const auto touch = [](void* token, uint64_t at, bool write) {
        auto* p = static_cast<volatile uint8_t*>(token) + at;
        if (write)
            *p = 1;
        else
            static_cast<void>(*p);
    };
    EXPECT_DEATH(touch(one.cpu, 0, false), "");
    EXPECT_DEATH(touch(one.cpu, 4999, false), "");
    EXPECT_DEATH(touch(one.cpu, 0, true), "");
    EXPECT_DEATH(touch(other.cpu, 63, true), "");
    EXPECT_EQ(t.found(), "nothing");
}

TEST(Opaque, is_freed_by_its_token_and_given_back_without_an_address)
{
    Audited t(no_kernel_mapping);
    const auto b = t.opaque(page);
    auto other = b;
    other.cpu = t.machine.client.data();
    EXPECT_EQ(t.auditor.free_coherent(other), Auditor::withheld);
    EXPECT_EQ(t.take(), "free-mismatch");
    bool null = false;
    t.provider.free = [&](const dmaudit_block& f) {
        null = f.cpu == nullptr;
        return DMAUDIT_OK;
    };
    EXPECT_EQ(t.auditor.free_coherent(b), DMAUDIT_OK);
    EXPECT_TRUE(null);
    EXPECT_EQ(t.state(0), "P");
    EXPECT_NE(t.machine.ram[0], 0) << "scribbled over";
    EXPECT_EQ(t.auditor.free_coherent(b), Auditor::withheld);
    EXPECT_EQ(t.take(), "double-free");
}

TEST(Opaque, an_illegal_free_is_forwarded_without_an_address)
{
    Audited t(no_kernel_mapping | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    const auto b = t.opaque(page);
    auto wrong = b;
    wrong.size = page + 1;
    bool null = false;
    t.provider.free = [&](const dmaudit_block& f) {
        null = f.cpu == nullptr;
        return DMAUDIT_EFAULT;
    };
    EXPECT_EQ(t.auditor.free_coherent(wrong), Auditor::withheld);
    EXPECT_TRUE(null);
    EXPECT_EQ(t.take(), "free-mismatch");
    t.provider.free = [](const dmaudit_block&) { return DMAUDIT_OK; };
    t.auditor.free_coherent(wrong);
    EXPECT_EQ(t.take(), "wrong-return");
}

TEST(Opaque, the_devices_pool_is_not_asked)
{
    Audited t(no_kernel_mapping);
    t.pool();
    const auto b = t.opaque(page);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.auditor.blocks()[Audited::tag(b)].pool, 0u);
}

// ==== windows onto blocks of the generic allocator ====

TEST(View, the_first_rule_of_the_published_order)
{
    Audited t(no_kernel_mapping);
    const Tag buffer = t.buffer(0, 64);
    const auto b = t.opaque(page), dead = t.opaque(page), c = t.block(one_page), cached = t.cached(page, bi);
    t.auditor.free_coherent(dead);
    const auto breaks = [&](dmaudit_block k) {
        const unsigned calls = t.calls_of([&] { t.view(k, 0, 1); });
        EXPECT_EQ(calls, 0u);
        EXPECT_EQ(t.rc, Auditor::withheld);
        return t.take();
    };
    const auto but = [](dmaudit_block k, auto field, auto value) {
        k.*field = static_cast<std::remove_reference_t<decltype(k.*field)>>(value);
        return k;
    };
    EXPECT_EQ(breaks(dead), "use-after-free");
    auto no_block = b;
    no_block.cookie[0] = buffer;
    EXPECT_EQ(breaks(no_block), "wrong-kind");
    EXPECT_EQ(breaks(but(but(b, &dmaudit_block::device, 1), &dmaudit_block::size, 1)), "wrong-device");
    EXPECT_EQ(breaks(but(but(b, &dmaudit_block::size, page + 1), &dmaudit_block::cpu, nullptr)), "bad-length");
    EXPECT_EQ(breaks(but(b, &dmaudit_block::cpu, nullptr)), "out-of-bounds");
    EXPECT_EQ(breaks(but(b, &dmaudit_block::cpu, c.cpu)), "out-of-bounds") << "another block's";
    EXPECT_EQ(breaks(but(c, &dmaudit_block::cpu, b.cpu)), "out-of-bounds");
    EXPECT_EQ(breaks(cached), "wrong-kind");
    for (const auto& k : {b, c}) {
        EXPECT_NE(t.view(k, 0, 1), 0u);
        EXPECT_EQ(t.take(), "nothing");
    }
    EXPECT_EQ(t.auditor.marks[Mark::window], 2u);
}

TEST(View, mmap_window_if_more_is_granted_than_the_block)
{
    const auto granted = [](uint64_t pgoff, uint64_t pages) {
        Audited t(no_kernel_mapping);
        const auto b = t.opaque(page + 1); // two pages
        t.provider.mmap_block = [&](const dmaudit_block&, uint64_t off, uint64_t n, dmaudit_window& w) {
            w.phys = phys_base + off * page;
            w.size = n * page;
            return DMAUDIT_OK;
        };
        t.view(b, pgoff, pages);
        return t.found();
    };
    EXPECT_EQ(granted(0, 2), "nothing");
    EXPECT_EQ(granted(1, 1), "nothing");
    EXPECT_EQ(granted(1, 2), "mmap-window");
    EXPECT_EQ(granted(2, 1), "mmap-window");
    EXPECT_EQ(granted(0, 0), "mmap-window");
    EXPECT_EQ(granted(1, ~uint64_t{0}), "mmap-window");
    Audited t(no_kernel_mapping);
    t.view(t.opaque(page), 1, 1);
    EXPECT_EQ(t.rc, DMAUDIT_ENXIO);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.auditor.marks[Mark::refused], 1u);
}

TEST(View, mmap_window_if_it_shows_other_pages_or_another_block)
{
    const auto shows = [](uint64_t at, uint64_t size, bool another = false) {
        Audited t(no_kernel_mapping);
        const auto b = t.opaque(page);
        if (another) { // two blocks in one page
            t.provider.block_lies([&](dmaudit_block& k) {
                k.bus = t.machine.bus(nc, 2048);
                k.granted = 64;
            });
            t.auditor.free_coherent(b);
            t.provider.next = 0;
            t.provider.block_lies([&](dmaudit_block& k) {
                k.cpu = t.machine.ram.data() + (k.size == 64 ? 0 : 2048);
                k.bus = t.machine.bus(nc, k.size == 64 ? 0 : 2048);
                k.granted = 64;
                std::memset(t.machine.ram.data(), 0, page);
            });
            const auto first = t.block(with(&dmaudit_request::align, 0, 64));
            t.provider.next = 0;
            t.block(with(&dmaudit_request::align, 0, 63));
            EXPECT_EQ(t.found(), "nothing");
            t.view(first, 0, 1);
            return t.found();
        }
        t.provider.mmap_block = [&](const dmaudit_block&, uint64_t, uint64_t, dmaudit_window& w) {
            w.phys = phys_base + at;
            w.size = size;
            return DMAUDIT_OK;
        };
        t.view(b, 0, 1);
        return t.found();
    };
    EXPECT_EQ(shows(0, page), "nothing");
    EXPECT_EQ(shows(page, page), "mmap-window");
    EXPECT_EQ(shows(0, 2 * page), "mmap-window");
    EXPECT_EQ(shows(0x70000000, page), "mmap-window") << "no RAM";
    EXPECT_EQ(shows(0, page, true), "mmap-window") << "another block's bytes";
}

TEST(View, wrong_return_if_a_legal_one_is_refused)
{
    Audited t(no_kernel_mapping);
    const auto b = t.opaque(page);
    t.provider.mmap_block = [](const dmaudit_block&, uint64_t, uint64_t, dmaudit_window&) { return DMAUDIT_ENXIO; };
    t.view(b, 0, 1);
    EXPECT_EQ(t.found(), "wrong-return");
}

TEST(View, leaks_old_data_of_an_earlier_owner_in_or_behind_an_opaque_block)
{
    // A block of three pages is freed, hence scribbled over; an opaque one of `size` bytes follows, whose provider
    // clears `cleared` bytes from `from` on.
    const auto shows = [](uint64_t size, uint64_t clear_from, uint64_t cleared, uint64_t pgoff, uint64_t pages) {
        Audited t(no_kernel_mapping);
        t.auditor.free_coherent(t.opaque(3 * page));
        const std::vector<uint8_t> old = t.machine.ram;
        t.provider.next = 0;
        t.provider.block_lies([&](dmaudit_block&) {
            t.machine.ram = old;
            std::memset(t.machine.ram.data() + clear_from, 0, cleared);
        });
        t.view(t.opaque(size), pgoff, pages);
        return t.found();
    };
    EXPECT_EQ(shows(page, 0, 0, 0, 1), "leaks-old-data");
    EXPECT_EQ(shows(page, 0, page, 0, 1), "nothing");
    EXPECT_EQ(shows(2 * page, 0, page, 0, 1), "nothing") << "the window shows the page that was cleared";
    EXPECT_EQ(shows(2 * page, 0, page, 1, 1), "leaks-old-data");
    EXPECT_EQ(shows(2 * page, 0, page, 0, 2), "leaks-old-data");
    EXPECT_EQ(shows(100, 0, 100, 0, 1), "leaks-old-data") << "behind its end";
    EXPECT_EQ(shows(100, 100, page - 100, 0, 1), "leaks-old-data") << "before its end";
    EXPECT_EQ(shows(100, 0, page, 0, 1), "nothing");
    EXPECT_EQ(shows(page, 0, page - 7, 0, 1), "nothing") << "less than a word may be a coincidence";
}

TEST(View, what_was_written_since_is_no_leak)
{
    Audited t(no_kernel_mapping);
    t.auditor.free_coherent(t.opaque(page));
    const std::vector<uint8_t> old = t.machine.ram;
    t.provider.next = 0;
    t.provider.block_lies([&](dmaudit_block&) { t.machine.ram = old; });
    const auto b = t.opaque(page);
    t.auditor.device_access(nc, Audited::tag(b), 0, page, true);
    t.view(b, 0, 1);
    EXPECT_EQ(t.found(), "nothing") << "by chance the device wrote the same";
}

TEST(View, keeps_its_block_alive)
{
    Audited t(no_kernel_mapping);
    const auto b = t.opaque(page);
    const Tag w = t.view(b, 0, 1);
    EXPECT_EQ(t.auditor.free_coherent(b), Auditor::withheld);
    EXPECT_EQ(t.take(), "free-while-mapped");
    EXPECT_TRUE(t.auditor.munmap(w));
    EXPECT_FALSE(t.auditor.munmap(w));
    EXPECT_EQ(t.take(), "double-free");
    EXPECT_FALSE(t.auditor.munmap(Audited::tag(b)));
    EXPECT_EQ(t.take(), "wrong-kind");
    EXPECT_EQ(t.auditor.free_coherent(b), DMAUDIT_OK);
    EXPECT_FALSE(t.auditor.cpu_access(w, 0, 1, true));
    EXPECT_EQ(t.take(), "use-after-free");
}

TEST(View, auditor_exhausted)
{
    Audited t(no_kernel_mapping);
    const auto b = t.opaque(page);
    uint32_t n = 0;
    for (; n < 2 * Slots<WindowRecord, Kind::window>::capacity && !t.auditor.violation(); n++)
        if (const Tag w = t.view(b, 0, 1))
            t.auditor.munmap(w);
    EXPECT_EQ(t.found(), "auditor-exhausted");
    EXPECT_EQ(n - 1, (Slots<WindowRecord, Kind::window>::capacity));
}

// ==== an IOMMU in between ====

constexpr uint64_t with_iommu = no_kernel_mapping | DMAUDIT_PROMISES_IOMMU;

TEST(BehindIommu, wrong_translation_if_the_device_is_denied_what_it_needs)
{
    const auto breaks = [](bool reads, bool writes, const std::function<void(Audited&)>& use) {
        Audited t(with_iommu);
        t.put_behind_iommu(snooping);
        t.written_buffer(0, 64);
        t.machine.give(snooping, t.machine.bus(snooping, 0), page, reads, writes);
        t.machine.give(snooping, t.machine.bus(snooping, client_at), page, reads, writes);
        t.provider.map = [&](const dmaudit_request& r, uint8_t* cpu, uint32_t d, dmaudit_mapping& m) {
            const auto pages = t.machine.iommu;
            const int rc = t.provider.good_map(r, cpu, d, m);
            t.machine.iommu = pages;
            return rc;
        };
        t.provider.alloc = [&](const dmaudit_request& r, dmaudit_block& b) {
            const auto pages = t.machine.iommu;
            const int rc = t.provider.good_alloc(r, b);
            t.machine.iommu = pages;
            return rc;
        };
        use(t);
        return t.found();
    };
    const auto mapping = [](uint32_t d) { return [d](Audited& t) { t.map(0, 64, d, snooping); }; };
    const auto block = [](Audited& t) { t.block(t.request(page, snooping)); };
    EXPECT_EQ(breaks(true, false, mapping(to)), "nothing");
    EXPECT_EQ(breaks(false, true, mapping(to)), "wrong-translation");
    EXPECT_EQ(breaks(false, true, mapping(from)), "nothing");
    EXPECT_EQ(breaks(true, false, mapping(from)), "wrong-translation");
    EXPECT_EQ(breaks(true, true, mapping(bi)), "nothing");
    EXPECT_EQ(breaks(true, false, mapping(bi)), "wrong-translation");
    EXPECT_EQ(breaks(false, true, mapping(bi)), "wrong-translation");
    EXPECT_EQ(breaks(true, true, block), "nothing");
    EXPECT_EQ(breaks(true, false, block), "wrong-translation");
    EXPECT_EQ(breaks(false, true, block), "wrong-translation");
}

TEST(BehindIommu, wrong_translation_if_a_page_is_not_mapped)
{
    Audited t(with_iommu);
    t.put_behind_iommu(snooping);
    t.written_buffer(0, 64);
    t.provider.mapping_lies([&](dmaudit_mapping&) { t.machine.iommu.clear(); });
    t.map(0, 64, to, snooping);
    EXPECT_EQ(t.found(), "wrong-translation");
    EXPECT_EQ(t.auditor.marks[Mark::translated], 0u);
}

// The rule that the end of something breaks if the provider leaves its pages mapped.
std::string kept_breaks(uint64_t promises, bool keeps, uint64_t iova_base,
                        const std::function<void(Audited&)>& begin_and_end)
{
    Audited t(promises);
    t.machine.iova_base = iova_base;
    t.put_behind_iommu(snooping);
    t.written_buffer(0, 64);
    if (keeps) {
        t.provider.unmap = [](const dmaudit_mapping&, uint64_t, uint32_t) { return DMAUDIT_OK; };
        t.provider.free = [](const dmaudit_block&) { return DMAUDIT_OK; };
        t.provider.free_cached = [](const dmaudit_block&, uint32_t) { return DMAUDIT_OK; };
    }
    begin_and_end(t);
    return t.found();
}

TEST(BehindIommu, still_reachable_after_an_unmap_or_a_free)
{
    const std::function<void(Audited&)> ends[] = {
        [](Audited& t) { t.unmap(t.map(0, 64, to, snooping)); },
        [](Audited& t) { t.auditor.free_coherent(t.block(t.request(100, snooping))); },
        [](Audited& t) { t.auditor.free_coherent(t.opaque(100, snooping)); },
        [](Audited& t) { t.auditor.free_noncoherent(t.cached(100, bi, snooping), bi); }};
    for (const auto& end : ends) {
        EXPECT_EQ(kept_breaks(with_iommu, false, 0x100000, end), "nothing");
        EXPECT_EQ(kept_breaks(with_iommu, true, 0x100000, end), "still-reachable");
        EXPECT_EQ(kept_breaks(with_iommu | DMAUDIT_TRAIT_LAZY_FLUSH, true, 0x100000, end), "nothing")
            << "who says that he flushes later";
    }
}

TEST(BehindIommu, the_last_page_of_all_addresses_is_one_like_others)
{
    Audited t(with_iommu);
    t.machine.devices[snooping].limit = ~uint64_t{0};
    t.machine.iova_base = ~uint64_t{0} - page + 1; // of the first page of RAM
    t.put_behind_iommu(snooping);
    const auto b = t.block(t.request(page, snooping));
    EXPECT_EQ(b.bus, ~uint64_t{0} - page + 1);
    EXPECT_EQ(t.found(), "nothing");
    t.provider.free = [](const dmaudit_block&) { return DMAUDIT_OK; };
    t.auditor.free_coherent(b);
    EXPECT_EQ(t.found(), "still-reachable");
}

TEST(BehindIommu, a_page_that_others_share_stays)
{
    Audited t(with_iommu);
    t.put_behind_iommu(snooping);
    t.written_buffer(0, 64);
    t.written_buffer(128, 64);
    const auto first = t.map(0, 64, to, snooping), second = t.map(128, 64, to, snooping);
    t.unmap(first);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.machine.iommu.size(), 1u);
    t.provider.unmap = [](const dmaudit_mapping&, uint64_t, uint32_t) { return DMAUDIT_OK; };
    t.unmap(second);
    EXPECT_EQ(t.found(), "still-reachable") << "now nobody does";
}

} // namespace
} // namespace dmaudit::fakes
