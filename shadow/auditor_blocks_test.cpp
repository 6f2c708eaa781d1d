// Coherent blocks: what the auditor accepts of a provider, and what it refuses.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

TEST(Block, a_right_one_is_accepted_and_the_client_gets_its_own_alias_and_a_tag)
{
    Audited t;
    const auto b = t.block(zeroed(100));
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.rc, DMAUDIT_OK);
    EXPECT_EQ(b.cpu, t.machine.client.data());
    EXPECT_EQ(b.size, 100u);
    EXPECT_EQ(t.state(99), "S");
    EXPECT_EQ(t.state(100), "PAD");
    EXPECT_EQ(t.state(page), "P");
    EXPECT_TRUE(t.auditor.blocks().alive(Audited::tag(b)));
}

TEST(Block, overlap_with_a_live_block_its_tail_a_buffer_or_a_bounce_slot)
{
    for (const uint64_t at : {uint64_t{0}, uint64_t{99}, uint64_t{100}, page - 1}) { // block, its last byte, its tail
        Audited t;
        t.block(t.request(100));
        t.provider.block_lies([&](dmaudit_block& b) { b.cpu = t.machine.ram.data() + at; });
        t.block(t.request(64));
        EXPECT_EQ(t.found(), "overlap") << at;
        EXPECT_EQ(t.where(), at);
    }
    {
        Audited t;
        t.block(t.request(100));
        t.block(t.request(100));
        EXPECT_EQ(t.found(), "nothing") << "the page behind it";
    }
    {
        Audited t;
        t.buffer(0, 64);
        t.provider.block_lies([&](dmaudit_block& b) { b.cpu = t.machine.ram.data() + client_at; });
        t.block(one_page);
        EXPECT_EQ(t.found(), "overlap") << "a buffer";
    }
    for (const uint64_t slot : {uint64_t{page - line}, uint64_t{page}}) {
        Audited t;
        t.written_buffer(0, 64);
        t.provider.bounce_to(slot);
        t.map(0, 64, to);
        EXPECT_EQ(t.found(), "nothing");
        t.block(t.request(64));
        EXPECT_EQ(t.found(), slot < page ? "overlap" : "nothing") << "the tail over a live bounce slot";
    }
}

TEST(Block, outside_arena)
{
    const auto at = [](uint64_t place, uint64_t granted) {
        Audited t;
        t.provider.block_lies([&](dmaudit_block& b) {
            b.cpu = t.machine.ram.data() + place;
            b.bus = t.machine.bus(nc, place);
            b.granted = granted;
            t.machine.uncached_at.insert(place & ~(page - 1));
        });
        t.block(t.request(64));
        return t.found();
    };
    EXPECT_EQ(at(arena.end() - page, page), "nothing") << "the last page";
    EXPECT_EQ(at(arena.end() - page, page + 1), "outside-arena") << "the tail, by one byte";
    EXPECT_EQ(at(pool_memory.at, page), "outside-arena") << "memory that nobody declared";
    EXPECT_EQ(at(ram_bytes - page, page + 1), "outside-arena") << "beyond RAM";
    EXPECT_EQ(at(ram_bytes - page, ~uint64_t{0}), "outside-arena");
    EXPECT_EQ(at(ram_bytes, page), "outside-arena");
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.cpu = nullptr; }), "outside-arena");
}

TEST(Block, outside_arena_if_it_is_from_the_pool_but_not_in_it)
{
    const auto at = [](uint64_t place) {
        Audited t;
        const Tag p = t.pool();
        t.provider.block_lies([&](dmaudit_block& b) {
            b.cpu = t.machine.ram.data() + place;
            b.bus = t.machine.bus(nc, place);
            t.machine.uncached_at.insert(place & ~(page - 1));
            std::memset(b.cpu, 0, page);
        });
        t.from_pool(p, page);
        return t.found();
    };
    EXPECT_EQ(at(pool_memory.end() - page), "nothing");
    EXPECT_EQ(at(arena.at), "outside-arena");
    EXPECT_EQ(at(pool_memory.at - line), "outside-arena") << "it begins before the pool";
    EXPECT_EQ(at(pool_memory.end() - page + line), "outside-arena") << "it ends behind the pool";
}

TEST(Block, short_block)
{
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::size, 100, 100), [](dmaudit_block& b) { b.granted = 99; }),
              "short-block");
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::size, 100, 100), [](dmaudit_block& b) { b.granted = 100; }),
              "nothing");
}

void move(dmaudit_block& b, uint64_t by)
{
    b.cpu = static_cast<uint8_t*>(b.cpu) + by;
    b.bus += by;
}

TEST(Block, misaligned_against_the_alignment_asked_for)
{
    const auto asked = with(&dmaudit_request::align, 256, 64);
    const auto shifted = [](uint64_t by) { return [by](dmaudit_block& b) { move(b, by); }; };
    EXPECT_EQ(block_breaks(usual, asked, shifted(128)), "misaligned");
    EXPECT_EQ(block_breaks(usual, asked, shifted(256)), "nothing");
    EXPECT_EQ(block_breaks(usual & ~DMAUDIT_PROMISES_ALIGNMENT, asked, shifted(128)), "nothing");
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::align, 1, 64), shifted(3)), "nothing");
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::align, 0, 64), shifted(3)), "nothing");
}

TEST(Block, misaligned_against_its_own_order)
{
    const auto two_pages_at = [](uint64_t promises, uint64_t place, uint64_t size) {
        return block_breaks(promises, with(&dmaudit_request::size, size, size),
                            [place](dmaudit_block& b) { move(b, place); });
    };
    constexpr uint64_t natural = usual | DMAUDIT_PROMISES_NATURAL_ALIGNMENT;
    EXPECT_EQ(two_pages_at(natural, 2 * page, 2 * page), "not-coherent")
        << "aligned; only its last page is still cached";
    EXPECT_EQ(two_pages_at(natural, page, page), "not-coherent") << "a page needs no more than a page";
    EXPECT_EQ(two_pages_at(natural, page, page + 1), "misaligned") << "a page and a byte are of order 1";
    EXPECT_EQ(two_pages_at(natural, 64, 64), "misaligned") << "never less than a page";
    EXPECT_EQ(two_pages_at(usual, 64, 64), "nothing") << "not promised";
}

TEST(Block, misaligned_if_it_is_cached_and_shares_a_line)
{
    constexpr uint64_t cached = usual | DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC;
    const auto granted = [](uint64_t place, uint64_t bytes) {
        return [=](dmaudit_block& b) {
            move(b, place);
            b.granted = bytes;
        };
    };
    dmaudit_request r = with(&dmaudit_request::size, 32, 32);
    EXPECT_EQ(block_breaks(cached, r, granted(0, 64)), "nothing");
    EXPECT_EQ(block_breaks(cached, r, granted(0, 32)), "misaligned");
    EXPECT_EQ(block_breaks(cached, r, granted(32, 64)), "misaligned");
    r.device = snooping;
    EXPECT_EQ(block_breaks(cached, r, granted(32, 32)), "nothing") << "only for devices that do not snoop";
}

TEST(Block, beyond_limit_is_inclusive_and_knows_both_limits)
{
    const uint64_t last = phys_base + page - 1;
    const auto fine = [](dmaudit_block&) {};
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::limit, last), fine), "nothing");
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::limit, last - 1), fine), "beyond-limit");
    EXPECT_EQ(block_breaks(usual & ~DMAUDIT_PROMISES_LIMIT, with(&dmaudit_request::limit, last - 1), fine), "nothing");
    for (const int over : {0, 1}) {
        Audited t;
        t.auditor.end();
        t.machine.devices[nc].limit = last - static_cast<uint64_t>(over);
        t.begin();
        t.block(one_page);
        EXPECT_EQ(t.found(), over ? "beyond-limit" : "nothing") << "the device's own limit";
    }
}

TEST(Block, crosses_boundary)
{
    const auto asked = with(&dmaudit_request::boundary, 1024, 512);
    EXPECT_EQ(block_breaks(usual, asked, [](dmaudit_block& b) { move(b, 512); }), "nothing")
        << "it ends at the boundary";
    EXPECT_EQ(block_breaks(usual, asked, [](dmaudit_block& b) { move(b, 513); }), "crosses-boundary");
    EXPECT_EQ(block_breaks(usual & ~DMAUDIT_PROMISES_BOUNDARY, asked, [](dmaudit_block& b) { move(b, 513); }),
              "nothing");
}

TEST(Block, wrong_translation)
{
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.bus += page; }), "wrong-translation");
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.bus -= 1; }), "wrong-translation");
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.bus = DMAUDIT_NO_ADDRESS; }), "wrong-translation");
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.bus = ~uint64_t{0} - 10; }), "wrong-translation")
        << "it wraps";
    Audited t;
    t.auditor.end();
    t.machine.devices[nc].offset = 0 - phys_base;
    t.begin();
    const auto b = t.block(one_page);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(b.bus, 0u) << "a valid address";
}

TEST(Block, not_zeroed_for_the_cpu)
{
    const auto dirty = [](uint64_t i) { return [i](dmaudit_block& b) { static_cast<uint8_t*>(b.cpu)[i] = 1; }; };
    EXPECT_EQ(block_breaks(usual, zeroed(100), dirty(0)), "not-zeroed");
    EXPECT_EQ(block_breaks(usual, zeroed(100), dirty(99)), "not-zeroed");
    EXPECT_EQ(block_breaks(usual, zeroed(100), dirty(100)), "nothing") << "the tail was not asked for";
    EXPECT_EQ(block_breaks(usual, one_page, dirty(0)), "nothing") << "nor was zeroing";
    EXPECT_EQ(block_breaks(usual & ~DMAUDIT_PROMISES_ZEROING, zeroed(100), dirty(0)), "nothing") << "not promised";
}

TEST(Block, pool_blocks_always_read_zero)
{
    for (const uint64_t promises : {usual, uint64_t{usual & ~DMAUDIT_PROMISES_ZEROING}}) {
        Audited t(promises);
        t.provider.block_lies([](dmaudit_block& b) { static_cast<uint8_t*>(b.cpu)[7] = 1; });
        t.from_pool(t.pool(), 64);
        EXPECT_EQ(t.found(), promises == usual ? "not-zeroed" : "nothing");
        EXPECT_EQ(t.where(), promises == usual ? pool_memory.at + 7 : ~uint64_t{0});
    }
}

TEST(Block, missing_clean_if_the_device_does_not_see_the_zeroes)
{
    const auto seen = [](uint64_t promises, uint32_t device, uint64_t differs_at) {
        Audited t(promises);
        t.machine.differs = {differs_at};
        dmaudit_request r = zeroed(100);
        r.device = device;
        t.block(r);
        return t.found();
    };
    EXPECT_EQ(seen(usual, nc, 99), "missing-clean");
    EXPECT_EQ(seen(usual, nc, 100), "nothing") << "the tail";
    EXPECT_EQ(seen(usual, snooping, 99), "nothing");
    EXPECT_EQ(seen(usual & ~DMAUDIT_PROMISES_ZEROING, nc, 99), "nothing");
    EXPECT_EQ(seen(usual | DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC, nc, 99), "nothing") << "the client syncs it";
}

TEST(Block, not_coherent_in_cached_pages)
{
    const auto cached = [](uint64_t promises, uint32_t device) {
        Audited t(promises);
        t.provider.block_lies([&](dmaudit_block&) { t.machine.uncached_at.erase(page); });
        t.block(t.request(2 * page, device));
        return t.found();
    };
    EXPECT_EQ(cached(usual, nc), "not-coherent") << "the second page";
    EXPECT_EQ(cached(usual, snooping), "nothing");
    EXPECT_EQ(cached(usual | DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC, nc), "nothing");
}

TEST(Block, wrong_return_if_what_must_be_refused_succeeds)
{
    const auto accepts = [](uint64_t promises, const dmaudit_request& r) {
        Audited t(promises);
        t.provider.alloc = [](const dmaudit_request&, dmaudit_block& b) {
            b = {};
            return DMAUDIT_OK;
        };
        t.block(r);
        return t.found();
    };
    EXPECT_EQ(accepts(usual, with(&dmaudit_request::size, 0, 0)), "wrong-return");
    EXPECT_EQ(accepts(usual, with(&dmaudit_request::align, 3, 64)), "wrong-return");
    EXPECT_EQ(accepts(usual & ~DMAUDIT_PROMISES_ALIGNMENT, with(&dmaudit_request::align, 3, 64)), "outside-arena")
        << "legal then, but it is no block";
    Audited t;
    t.block(with(&dmaudit_request::size, 0, 0));
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.rc, DMAUDIT_EINVAL);
    EXPECT_EQ(t.auditor.marks[Mark::refused], 1u);
}

TEST(Block, wrong_return_if_a_legal_free_fails)
{
    Audited t;
    const auto b = t.block(one_page);
    t.provider.free = [](const dmaudit_block&) { return DMAUDIT_EFAULT; };
    EXPECT_EQ(t.auditor.free_coherent(b), DMAUDIT_EFAULT);
    EXPECT_EQ(t.found(), "wrong-return");
}

TEST(Block, failure_has_effect)
{
    const auto fails = [](bool leaves_page, uint64_t promises = usual) {
        Audited t(promises);
        t.provider.alloc = [&](const dmaudit_request&, dmaudit_block&) {
            t.machine.more_uncached += leaves_page;
            return DMAUDIT_ENOMEM;
        };
        t.block(one_page);
        EXPECT_EQ(t.auditor.marks[Mark::failed_call], 1u);
        return t.found();
    };
    EXPECT_EQ(fails(true), "failure-has-effect");
    EXPECT_EQ(fails(false), "nothing");
    EXPECT_EQ(fails(true, usual & ~DMAUDIT_PROMISES_PROMPT), "nothing")
        << "what it does with free pages is its own affair";
}

TEST(Block, lost_capacity_if_its_pages_stay_uncached)
{
    const auto frees = [](bool caches_again, uint64_t promises) {
        Audited t(promises);
        t.block(one_page);
        const auto b = t.block(one_page);
        t.provider.caches_again = caches_again;
        t.auditor.free_coherent(b);
        return t.found();
    };
    EXPECT_EQ(frees(false, usual), "lost-capacity");
    EXPECT_EQ(frees(true, usual), "nothing");
    EXPECT_EQ(frees(false, usual & ~DMAUDIT_PROMISES_PROMPT), "nothing");
}

TEST(Block, leaves_its_page_uncached_where_another_one_lies)
{
    Audited t;
    uint64_t lead = 0; // two blocks of half a page
    t.provider.block_lies([&](dmaudit_block& b) {
        b.cpu = static_cast<uint8_t*>(b.cpu) + lead;
        b.bus += lead;
        b.granted = 2048;
    });
    const auto first = t.block(t.request(2048));
    t.provider.next = 0;
    lead = 2048;
    const auto second = t.block(t.request(2048));
    ASSERT_EQ(t.found(), "nothing");
    t.provider.caches_again = false;
    t.auditor.free_coherent(first);
    EXPECT_EQ(t.found(), "nothing");
    t.auditor.free_coherent(second);
    EXPECT_EQ(t.found(), "lost-capacity") << "it was the last one";
}

TEST(Block, is_scribbled_over_before_its_free_and_given_back_verbatim)
{
    Audited t;
    t.provider.block_lies([](dmaudit_block& b) {
        b.cookie[0] = 0x1234;
        b.cookie[1] = 0x5678;
    });
    auto b = t.block(zeroed(100));
    EXPECT_NE(b.cookie[0], 0x1234u) << "the provider's cookie stays with the auditor";
    t.provider.free = [&](const dmaudit_block& given) {
        EXPECT_EQ(given.cookie[0], 0x1234u);
        EXPECT_EQ(given.cookie[1], 0x5678u);
        EXPECT_EQ(given.cpu, t.machine.ram.data()) << "the provider's own alias";
        for (unsigned i = 0; i < 100; i++)
            EXPECT_GE(t.machine.ram[i], 0xc0) << i;
        EXPECT_EQ(t.machine.ram[100], 0x81) << "the tail is not the client's";
        return DMAUDIT_OK;
    };
    EXPECT_EQ(t.auditor.free_coherent(b), DMAUDIT_OK);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.machine.written, std::vector<Range>({{0, 100}}));
    EXPECT_EQ(t.state(0), "P");
    EXPECT_EQ(t.state(100), "P");
}

} // namespace
} // namespace dmaudit::fakes
