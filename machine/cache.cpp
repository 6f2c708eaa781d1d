#include "machine/cache.hpp"

#include "machine/bytes.hpp"
#include "machine/ram.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace dmaudit {
namespace {
constexpr unsigned block_shift = 12; // granularity of the touched flags
constexpr uint64_t block = 1u << block_shift;
} // namespace

void Cache::configure(uint64_t bytes, uint64_t page, uint64_t line, bool simulated)
{
    bytes_ = bytes;
    line_ = line;
    page_shift_ = static_cast<unsigned>(std::countr_zero(page));
    line_shift_ = static_cast<unsigned>(std::countr_zero(line));
    simulated_ = simulated;
    any_uncached_ = false;
    n_uncached_ = 0;
    uncached_.assign((bytes >> page_shift_) + 1, 0);
    if (!simulated)
        return;
    if (!d_) {
        d_.reset(new uint8_t[Ram::capacity]); // left as it is: filled below, as far as a world needs it
        s_.reset(new uint8_t[Ram::capacity]);
        saved_.assign(Ram::capacity >> 4, 0);
        forced_.assign(Ram::capacity >> 4, 0);
        touched_.assign(Ram::capacity >> block_shift, 0);
    }
    for (; filled_ < bytes; filled_ += block)
        copy_bytes(d_.get() + filled_, Ram::initial_page(), block);
}

void Cache::reset()
{
    if (simulated_)
        for (uint64_t at = 0; at < bytes_; at += block)
            if (uint8_t& t = touched_[at >> block_shift]) {
                t = 0;
                copy_bytes(d_.get() + at, Ram::initial_page(), block);
                std::memset(saved_.data() + (at >> line_shift_), 0, block >> line_shift_);
                std::memset(forced_.data() + (at >> line_shift_), 0, block >> line_shift_);
            }
    if (any_uncached_)
        uncached_.assign(uncached_.size(), 0);
    any_uncached_ = false;
    n_uncached_ = 0;
}

// The lines that a range touches, in parts of at most one block (cached, or uncached as a whole).
template <class F> void Cache::each_part(uint64_t at, uint64_t len, F f) const
{
    if (len == 0)
        return;
    const uint64_t last = (at + len - 1) | (line_ - 1);
    for (uint64_t from = at & ~(line_ - 1); from <= last;) {
        const uint64_t end = std::min(last, from | (block - 1)) + 1;
        if (!any_uncached_ || !uncached(from))
            f(from, end);
        from = end;
    }
}

bool Cache::any_flag(const std::vector<uint8_t>& flags, uint64_t from, uint64_t end) const
{
    if (!touched_[from >> block_shift])
        return false;
    const uint8_t *f = flags.data() + (from >> line_shift_), *stop = flags.data() + (end >> line_shift_);
    for (; stop - f >= 8; f += 8) {
        uint64_t eight;
        std::memcpy(&eight, f, sizeof eight);
        if (eight)
            return true;
    }
    for (; f != stop; f++)
        if (*f)
            return true;
    return false;
}

bool Cache::same_views(uint64_t from, uint64_t end) const
{
    return end - from == block ? same_page(c_ + from, d_.get() + from)
                               : same_bytes(c_ + from, d_.get() + from, end - from);
}

// No line there is dirty, and no device has written any since it was last exchanged.
bool Cache::settled(uint64_t from, uint64_t end) const
{
    return !any_flag(saved_, from, end) && !any_flag(forced_, from, end) && same_views(from, end);
}

void Cache::touch_device(uint64_t at, uint64_t len)
{
    for (uint64_t b = at >> block_shift; b <= (at + len - 1) >> block_shift; b++)
        touched_[b] = 1;
}

bool Cache::line_dirty(uint64_t at) const
{
    if (!simulated_ || uncached(at))
        return false;
    const uint64_t l = at & ~(line_ - 1);
    return forced_[l >> line_shift_] || !same_bytes(c_ + l, exchanged(l), line_);
}

bool Cache::line_stale(uint64_t at) const
{
    const uint64_t l = at & ~(line_ - 1);
    return simulated_ && !uncached(at) && saved_[l >> line_shift_] && !same_bytes(s_.get() + l, d_.get() + l, line_);
}

bool Cache::byte_dirty(uint64_t at) const
{
    return simulated_ && !uncached(at) && c_[at] != exchanged(at & ~(line_ - 1))[at & (line_ - 1)];
}

bool Cache::byte_stale(uint64_t at) const
{
    return simulated_ && !uncached(at) && saved_[at >> line_shift_] && s_[at] != d_[at];
}

std::optional<uint64_t> Cache::first_stale(uint64_t at, uint64_t len) const
{
    if (!simulated_)
        return {};
    std::optional<uint64_t> first;
    each_part(at, len, [&](uint64_t from, uint64_t end) {
        if (first || !any_flag(saved_, from, end))
            return;
        for (uint64_t l = from; l < end && !first; l += line_)
            for (uint64_t i = std::max(l, at); saved_[l >> line_shift_] && i < std::min(l + line_, at + len) && !first;
                 i++)
                if (s_[i] != d_[i])
                    first = i;
    });
    return first;
}

void Cache::writeback(uint64_t l)
{
    touch_device(l, line_);
    copy_bytes(d_.get() + l, c_ + l, line_);
    saved_[l >> line_shift_] = forced_[l >> line_shift_] = 0;
}

void Cache::drop(uint64_t l)
{
    copy_bytes(c_ + l, d_.get() + l, line_);
    saved_[l >> line_shift_] = forced_[l >> line_shift_] = 0;
}

void Cache::clean(uint64_t at, uint64_t len)
{
    if (!simulated_)
        return;
    each_part(at, len, [this](uint64_t from, uint64_t end) {
        if (any_flag(saved_, from, end)) {
            for (uint64_t l = from; l < end; l += line_) {
                if (!line_dirty(l))
                    continue;
                if (observer_ && saved_[l >> line_shift_])
                    observer_->writeback_over_stale(l);
                writeback(l);
            }
        } else if (any_flag(forced_, from, end) || !same_views(from, end)) {
            // Where a line is not dirty both views hold the same: all can be written at once.
            touch_device(from, end - from);
            copy_bytes(d_.get() + from, c_ + from, end - from);
            std::memset(forced_.data() + (from >> line_shift_), 0, (end - from) >> line_shift_);
        }
    });
}

void Cache::invalidate(uint64_t at, uint64_t len)
{
    if (!simulated_)
        return;
    each_part(at, len, [this, at, len](uint64_t from, uint64_t end) {
        if (settled(from, end))
            return;
        for (uint64_t l = from; l < end; l += line_) {
            const bool dirty = line_dirty(l);
            if (observer_ && dirty)
                observer_->drops_dirty(l, at, len);
            if (dirty || saved_[l >> line_shift_]) // else there is nothing to drop
                drop(l);
        }
    });
}

void Cache::evict(uint64_t at, uint64_t len)
{
    clean(at, len);
    prefetch(at, len); // no line is dirty now
}

void Cache::prefetch(uint64_t at, uint64_t len)
{
    if (!simulated_)
        return;
    each_part(at, len, [this](uint64_t from, uint64_t end) {
        if (any_flag(saved_, from, end))
            for (uint64_t l = from; l < end; l += line_)
                if (saved_[l >> line_shift_] && !line_dirty(l))
                    drop(l);
    });
}

void Cache::set_uncached(uint64_t at, uint64_t len, bool on)
{
    for (uint64_t p = at >> page_shift_; p < (at + len) >> page_shift_; p++) {
        if (uncached_[p] == static_cast<uint8_t>(on))
            continue;
        const uint64_t from = p << page_shift_, bytes = uint64_t{1} << page_shift_;
        if (simulated_) {
            touch_device(from, bytes);
            if (on)
                copy_bytes(c_ + from, d_.get() + from, bytes); // whatever the cache held is gone
            else
                copy_bytes(d_.get() + from, c_ + from, bytes);
            std::memset(saved_.data() + (from >> line_shift_), 0, bytes >> line_shift_);
            std::memset(forced_.data() + (from >> line_shift_), 0, bytes >> line_shift_);
        }
        uncached_[p] = on;
        n_uncached_ += on ? 1 : ~uint64_t{0};
        any_uncached_ = true;
    }
}

bool Cache::all_uncached(uint64_t at, uint64_t len) const
{
    for (uint64_t p = at >> page_shift_; len && p <= (at + len - 1) >> page_shift_; p++)
        if (!uncached_[p])
            return false;
    return true;
}

void Cache::wrote(uint64_t at, uint64_t len)
{
    if (!simulated_ || len == 0)
        return;
    touch_device(at, len);
    std::memset(forced_.data() + (at >> line_shift_), 1, ((at + len - 1) >> line_shift_) - (at >> line_shift_) + 1);
    if (any_uncached_)
        for (uint64_t l = at & ~(line_ - 1); l < at + len; l += line_)
            if (uncached(l))
                forced_[l >> line_shift_] = 0;
}

std::optional<uint64_t> Cache::first_dirty(uint64_t at, uint64_t len) const
{
    if (!simulated_ || len == 0)
        return {};
    std::optional<uint64_t> first;
    each_part(at, len, [&](uint64_t from, uint64_t end) {
        if (first || settled(from, end))
            return;
        for (uint64_t l = from; l < end && !first; l += line_)
            if (line_dirty(l)) {
                first = l;
                for (uint64_t i = l + line_; i-- > l;)
                    if (byte_dirty(i))
                        first = i;
            }
    });
    return first;
}

void Cache::read(uint64_t at, uint64_t len, uint8_t* out) const
{
    if (!any_uncached_) {
        copy_bytes(out, d_.get() + at, len);
        return;
    }
    for (uint64_t i = 0; i < len;) { // page by page: an uncached page has one value only
        const uint64_t page_end = (((at + i) >> page_shift_) + 1) << page_shift_,
                       n = std::min(len - i, page_end - (at + i));
        copy_bytes(out + i, (uncached(at + i) ? c_ : d_.get()) + at + i, n);
        i += n;
    }
}

void Cache::write(uint64_t at, uint64_t len, const uint8_t* in)
{
    if (len == 0)
        return;
    touch_device(at, len);
    for (uint64_t l = at & ~(line_ - 1); l < at + len; l += line_) {
        const uint64_t from = std::max(l, at), n = std::min(l + line_, at + len) - from;
        if (any_uncached_ && uncached(l)) {
            copy_bytes(c_ + from, in + (from - at), n);
            continue;
        }
        if (uint8_t& saved = saved_[l >> line_shift_]; !saved) {
            copy_bytes(s_.get() + l, d_.get() + l, line_);
            saved = 1;
        }
        copy_bytes(d_.get() + from, in + (from - at), n);
    }
}

void Cache::coherent_write(uint64_t at, uint64_t len, const uint8_t* in)
{
    copy_bytes(c_ + at, in, len);
    if (!simulated_ || len == 0)
        return;
    touch_device(at, len);
    copy_bytes(d_.get() + at, in, len);
    for (uint64_t l = at & ~(line_ - 1); l < at + len; l += line_)
        if (saved_[l >> line_shift_]) {
            const uint64_t from = std::max(l, at), n = std::min(l + line_, at + len) - from;
            copy_bytes(s_.get() + from, in + (from - at), n);
        }
}

std::optional<uint64_t> Cache::first_difference(uint64_t at, uint64_t len) const
{
    if (!simulated_)
        return {};
    for (uint64_t i = at; i < at + len;) { // page by page: an uncached page has one value only
        const uint64_t end = std::min(at + len, ((i >> page_shift_) + 1) << page_shift_);
        if ((!any_uncached_ || !uncached(i)) && !same_bytes(c_ + i, d_.get() + i, end - i)) {
            while (c_[i] == d_[i])
                i++;
            return i;
        }
        i = end;
    }
    return {};
}

} // namespace dmaudit
