// Windows of user space, and what an earlier owner left behind in what they show.
#include "machine/bytes.hpp"
#include "shadow/auditor.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace dmaudit {
namespace {

// What is written over a block before its free: found again, it is an earlier owner's.
constexpr auto scribble = [] {
    std::array<uint8_t, 4096> page{};
    for (uint32_t i = 0; i < page.size(); i++)
        page[i] = static_cast<uint8_t>(0xc0u | (i * 0x9e3779b1u) >> 26);
    return page;
}();

// An aligned word of scribble: no coincidence.
bool is_scribbled(const uint8_t* ram, uint64_t at)
{
    uint64_t found, wanted;
    std::memcpy(&found, ram + at, 8);
    std::memcpy(&wanted, scribble.data() + at % 4096, 8);
    return found == wanted;
}

// Of 64 bytes at a multiple of 64: is there half a word of scribble? Nearly always there is none.
bool maybe_scribbled(const uint8_t* ram, uint64_t at)
{
    using Halves = uint32_t __attribute__((vector_size(16)));
    using Answers = int32_t __attribute__((vector_size(16)));
    Halves found[4], wanted[4];
    std::memcpy(found, ram + at, sizeof found);
    std::memcpy(wanted, scribble.data() + at % 4096, sizeof wanted);
    Answers equal{};
    for (unsigned k = 0; k < 4; k++)
        equal |= found[k] == wanted[k];
    return (equal[0] | equal[1] | equal[2] | equal[3]) != 0;
}

std::optional<uint64_t> first_scribbled(const uint8_t* ram, Range r)
{
    for (uint64_t at = (r.at + 7) & ~uint64_t{7}; at + 8 <= r.end(); at += 8) {
        while (at % 64 == 0 && at + 64 <= r.end() && !maybe_scribbled(ram, at))
            at += 64;
        if (at + 8 <= r.end() && is_scribbled(ram, at))
            return at;
    }
    return {};
}

} // namespace

void Auditor::scribble_over(Range r)
{
    if (!audits_)
        return;
    for (uint64_t at = r.at; at < r.end();) {
        const uint64_t n = std::min(r.end() - at, 4096 - at % 4096);
        copy_bytes(door(at), scribble.data() + at % 4096, n);
        at += n;
    }
    evidence_->wrote(r);
}

std::optional<uint64_t> Auditor::first_not_scribbled(Range r) const
{
    for (uint64_t at = r.at; at < r.end();) {
        const uint64_t n = std::min(r.end() - at, 4096 - at % 4096);
        const uint8_t* must = scribble.data() + at % 4096;
        if (!same_bytes(door(at), must, n))
            return at + static_cast<uint64_t>(std::mismatch(must, must + n, door(at)).first - must);
        at += n;
    }
    return {};
}

// A window of `pages` pages onto a live block, from its page `pgoff` on, that the provider gave: what does it show?
bool Auditor::check_window(Tag block, uint64_t pgoff, uint64_t pages, const dmaudit_window& w, Tag* out)
{
    BlockRecord& rec = blocks_[block];
    const uint64_t phys = evidence_->phys_of(rec.at.at) + pgoff * around_.page;
    const auto at = evidence_->offset_of(w.phys, w.size);
    if (w.phys != phys || w.size != pages * around_.page || !at)
        return fail(RuleId::mmap_window, rec.at, block, "first byte of the window", phys, w.phys), false;
    const Range window{*at, w.size};
    for (uint32_t i = 0; i < blocks_.live_count(); i++)
        if (const BlockRecord& o = blocks_[blocks_.live(i)]; blocks_.live(i) != block && o.at.overlaps(window))
            return fail(RuleId::mmap_window, {o.at.intersect(window).at, 1}, blocks_.live(i),
                        "the window shows another block"),
                   false;
    // What lies between the end of the block and the end of its last page becomes visible.
    std::optional<uint64_t> leak;
    if (audits_)
        leak =
            first_scribbled(around_.provider_view, window.intersect({rec.at.end(), rec.granted.end() - rec.at.end()}));
    if (leak)
        return fail(RuleId::leaks_old_data, {*leak, 8}, block,
                    "the window shows what an earlier owner left behind the end of the block"),
               false;
    // Opaque memory is not zeroed by contract, but what user space sees is no earlier owner's.
    if (audits_ && rec.opaque)
        map_.for_each_run(window.intersect(rec.at), [&](Range run, uint8_t s) {
            if (!leak && !is_initialised(s))
                leak = first_scribbled(around_.provider_view, run);
        });
    if (leak)
        return fail(RuleId::leaks_old_data, {*leak, 8}, block, "the window shows what an earlier owner left"), false;
    *out = windows_.add({window, block});
    if (!*out)
        return fail(RuleId::auditor_exhausted, window, block, "too many windows in one session"), false;
    rec.windows++;
    rec.tail_open = true;
    marks.hit(Mark::window);
    return true;
}

// dma_mmap_attrs
int Auditor::mmap_coherent(const dmaudit_block& b, uint64_t pgoff, uint64_t pages, Tag* out)
{
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!check_alive(tag, Kind::block, RuleId::use_after_free))
        return withheld;
    const BlockRecord& rec = blocks_[tag];
    if (b.device != rec.device)
        return fail(RuleId::wrong_device, rec.at, tag, "the block was allocated for another device", rec.device,
                    b.device),
               withheld;
    if (b.size != rec.at.len)
        return fail(RuleId::bad_length, rec.at, tag, "size against the block's", rec.at.len, b.size), withheld;
    if (b.cpu != (rec.opaque ? token(tag) : client(rec.at.at)))
        return fail(RuleId::out_of_bounds, rec.at, tag, "the address is not the block's"), withheld;
    if (rec.noncoherent())
        return fail(RuleId::wrong_kind, rec.at, tag, "the call is for coherent memory"), withheld;
    const uint64_t count = (rec.at.len + around_.page - 1) / around_.page;
    const bool refuse = pages == 0 || pgoff >= count || pages > count - pgoff;
    dmaudit_window w{};
    w.struct_size = sizeof w;
    const int rc = inner_->coherent->mmap(ctx_, &rec.inner, pgoff, pages, &w);
    if (violation_)
        return rc;
    if (refuse) {
        marks.hit(Mark::refused);
        if (rc == DMAUDIT_OK)
            fail(RuleId::mmap_window, rec.at, tag,
                 "a window of no pages, or past the block's last one, was not refused: pages of the block, end of the "
                 "window",
                 count, pgoff + pages);
        else if (rc != DMAUDIT_ENXIO && pages)
            fail(RuleId::wrong_return, rec.at, tag, "a window that the block does not have", Code{DMAUDIT_ENXIO},
                 Code{rc});
        return rc;
    }
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.at, tag, "a legal window was refused", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    check_window(tag, pgoff, pages, w, out);
    return rc;
}

bool Auditor::munmap(Tag window)
{
    if (!check_alive(window, Kind::window, RuleId::double_free))
        return false;
    if (windows_[window].buf)
        return close_window(window) == DMAUDIT_OK;
    if (const Tag block = windows_[window].block; blocks_.alive(block))
        blocks_[block].windows--;
    windows_.remove(window);
    return true;
}

} // namespace dmaudit
