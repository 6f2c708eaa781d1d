// The protocol of one byte, written a second time and differently: as plain decisions over four words instead of a
// table of rows over state codes. For tests only; where the two disagree, one of them is wrong.
#pragma once
#include "shadow/protocol.hpp"

#include <optional>

namespace dmaudit::model {

struct Byte {
    Owner owner = Owner::none;
    Direction dir = Direction::none;
    CacheState cache = CacheState::in_step;
    bool init = false;
    friend bool operator==(const Byte&, const Byte&) = default;
};

struct Outcome {
    RuleId rule = RuleId::none;
    Byte then{};
};

// Is there such a state? (Direction and cache mean something for some owners only.)
constexpr bool declared(const Byte& b)
{
    const bool d = b.cache == CacheState::cpu_wrote, s = b.cache == CacheState::device_wrote;
    if (!d && !s && b.cache != CacheState::in_step)
        return false;
    switch (b.owner) {
    case Owner::none:
    case Owner::provider:
    case Owner::guard:
        return b.dir == Direction::none && !d && !s;
    case Owner::shared:
    case Owner::opaque: // with direction `bi`: exported
        return b.dir == Direction::bi || (b.dir == Direction::none && !d && !s);
    case Owner::cpu:
        return b.dir == Direction::none || !s; // a device's data waits for a hand-over with the device, or unmapped
    case Owner::device:
        if (b.dir == Direction::to) // the CPU's write to a byte that the device only reads makes it the CPU's
            return !d && !s;
        return b.dir == Direction::none ? !s : !d; // none: several to_device mappings
    }
    return false;
}

class Protocol {
  public:
    constexpr explicit Protocol(const Byte& b) : was_(b) {}

    constexpr Outcome on(Event e) const
    {
        using enum Event;
        switch (e) {
        case buffer_alloc:
            return nobodys() ? to({Owner::cpu}) : no(RuleId::overlap);
        case buffer_free:
            return buffer_free_();
        case map_to:
            return map(Direction::to, false, false);
        case map_from:
            return map(Direction::from, false, false);
        case map_from_keeps:
            return map(Direction::from, false, true);
        case map_bi:
            return map(Direction::bi, false, true);
        case map_skip_to:
            return map(Direction::to, true, true);
        case map_skip_from:
            return map(Direction::from, true, true);
        case map_skip_bi:
            return map(Direction::bi, true, true);
        case sync_for_cpu:
            return for_cpu();
        case sync_for_device:
            return for_device();
        case unmap:
            return unmap_();
        case unmap_skip:
            return unmap_skip_();
        case unmap_tail:
            return unmap_tail_();
        case cpu_read:
            return cpu_read_();
        case cpu_write:
            return cpu_write_();
        case window_read:
            return window(false);
        case window_write:
            return window(true);
        case device_read:
            return device_read_();
        case device_write:
            return device_write_();
        case flush:
            return maintainable() ? same() : no(not_maintainable());
        case flush_invalidate: // everything is in memory before it is dropped: nothing is lost
            return !maintainable()             ? no(not_maintainable())
                   : unmapped() && by_device() ? with_cache(CacheState::in_step)
                                               : same();
        case invalidate:
            return invalidate_();
        case alloc_zeroed:
            return granted({Owner::shared, Direction::none, CacheState::in_step, true});
        case alloc_plain:
            return granted({Owner::shared});
        case alloc_tail:
            return granted({Owner::guard});
        case block_free:
            if (coherent() || was_.owner == Owner::guard)
                return to({Owner::provider});
            if (exported())
                return no(RuleId::free_while_mapped);
            return no(nobodys() || providers() ? RuleId::double_free : RuleId::wrong_kind);
        case alloc_opaque:
            return granted({Owner::opaque});
        case alloc_noncoherent_to:
            return granted({Owner::cpu, Direction::to, CacheState::cpu_wrote, true});
        case alloc_noncoherent_from:
            return granted({Owner::cpu, Direction::from, CacheState::cpu_wrote, true});
        case alloc_noncoherent_bi:
            return granted({Owner::cpu, Direction::bi, CacheState::cpu_wrote, true});
        case noncoherent_free:
            if (several())
                return no(RuleId::free_while_mapped);
            if (mapped() || was_.owner == Owner::guard)
                return to({Owner::provider});
            return no(nobodys() || providers() ? RuleId::double_free : RuleId::wrong_kind);
        case pool_declare:
            return nobodys() ? to({Owner::provider}) : no(RuleId::out_of_bounds);
        case pool_release:
            if (providers())
                return to({Owner::none});
            return no(coherent() || exported() || was_.owner == Owner::guard ? RuleId::leak : RuleId::double_free);
        case dma_buf_export:
            return export_();
        case dma_buf_put_pages:
            if (!exported() || opaque())
                return no(RuleId::wrong_kind);
            return to({Owner::cpu, Direction::none, was_.cache, was_.init && !by_device()});
        case dma_buf_put_block:
            return exported() ? become(was_.owner, Direction::none) : no(RuleId::wrong_kind);
        case dma_buf_map: // the CPU's bytes go to the device
            return !exported() ? no(RuleId::wrong_kind) : by_device() ? same() : with_cache(CacheState::in_step);
        case dma_buf_map_loses:
            return !exported() ? no(RuleId::wrong_kind) : by_cpu() ? become(was_.owner, was_.dir, false) : same();
        case dma_buf_unmap: // the device's bytes come to the CPU, over what it wrote meanwhile
        case dma_buf_begin:
            return !exported() ? no(RuleId::wrong_kind)
                   : by_cpu()  ? become(was_.owner, was_.dir, false)
                               : with_cache(CacheState::in_step);
        case dma_buf_end:
            return !exported() ? no(RuleId::wrong_kind) : by_device() ? same() : with_cache(CacheState::in_step);
        case dma_buf_confused:
            return !exported()     ? no(RuleId::wrong_kind)
                   : by_device() ? to({was_.owner, was_.dir, was_.cache, false})
                                 : become(was_.owner, was_.dir, false);
        case count_:
            break;
        }
        return no(RuleId::auditor_exhausted);
    }

  private:
    Byte was_;

    constexpr bool nobodys() const { return was_.owner == Owner::none; }
    constexpr bool providers() const { return was_.owner == Owner::provider; }
    constexpr bool opaque() const { return was_.owner == Owner::opaque; }
    constexpr bool coherent() const
    {
        return (was_.owner == Owner::shared || opaque()) && was_.dir == Direction::none;
    }
    constexpr bool exported() const { return (was_.owner == Owner::shared || opaque()) && was_.dir == Direction::bi; }
    constexpr bool unmapped() const { return was_.owner == Owner::cpu && was_.dir == Direction::none; }
    constexpr bool with_cpu() const { return was_.owner == Owner::cpu && was_.dir != Direction::none; } // and mapped
    constexpr bool with_device() const { return was_.owner == Owner::device && was_.dir != Direction::none; }
    constexpr bool several() const { return was_.owner == Owner::device && was_.dir == Direction::none; }
    constexpr bool mapped() const { return with_cpu() || with_device() || several(); }
    constexpr bool read_only() const
    {
        return several() || was_.dir == Direction::to;
    } // to the device; precondition: mapped
    constexpr bool by_cpu() const { return was_.cache == CacheState::cpu_wrote; }
    constexpr bool by_device() const { return was_.cache == CacheState::device_wrote; }
    constexpr bool maintainable() const { return unmapped() || mapped() || (coherent() && !opaque()); }

    constexpr Outcome no(RuleId r) const { return {r, was_}; }
    constexpr Outcome same() const { return {RuleId::none, was_}; }
    constexpr Outcome to(Byte b) const { return {RuleId::none, b}; }
    constexpr Outcome with_cache(CacheState c) const
    {
        Byte b = was_;
        b.cache = c;
        return to(b);
    }
    // Without a cache word: in step.
    constexpr Outcome become(Owner o, Direction d, std::optional<bool> init = {}) const
    {
        return to({o, d, CacheState::in_step, init.value_or(was_.init)});
    }

    constexpr Outcome buffer_free_() const
    {
        if (unmapped())
            return to({Owner::none});
        if (mapped() || exported())
            return no(RuleId::free_while_mapped);
        return no(nobodys() || providers() ? RuleId::double_free : RuleId::wrong_kind);
    }

    constexpr Outcome export_() const
    {
        if (providers())
            return no(RuleId::use_after_free);
        if (mapped())
            return no(RuleId::overlapping_mapping);
        if (exported())
            return no(RuleId::wrong_kind);
        if (!unmapped() && !coherent())
            return no(RuleId::out_of_bounds);
        return to({opaque() ? Owner::opaque : Owner::shared, Direction::bi, was_.cache, was_.init});
    }

    constexpr Outcome map(Direction d, bool skip, bool keeps) const
    {
        if (providers())
            return no(RuleId::use_after_free);
        if (coherent() || exported())
            return no(RuleId::wrong_kind);
        if (mapped()) { // devices may read together
            if (d != Direction::to || !read_only())
                return no(RuleId::overlapping_mapping);
            if (skip && by_cpu()) // nobody cleans it for the newcomer either
                return to({Owner::device, Direction::none, CacheState::cpu_wrote, was_.init});
            return become(Owner::device, Direction::none);
        }
        if (!unmapped())
            return no(RuleId::out_of_bounds);
        if (skip && by_cpu()) // nobody cleans it: it stays with the CPU until a sync
            return to({Owner::cpu, d, CacheState::cpu_wrote, was_.init});
        if (skip && by_device() && d != Direction::to)
            return to({Owner::device, d, CacheState::device_wrote, was_.init});
        if (d == Direction::from && by_cpu() && !keeps) // the provider may drop it
            return become(Owner::device, d, false);
        return become(Owner::device, d);
    }

    constexpr Outcome for_cpu() const
    {
        if (!mapped())
            return no(RuleId::sync_outside);
        if (several())
            return same(); // the registry remembers that this mapping has given it
        if (with_cpu())
            return by_cpu() && !read_only() ? no(RuleId::sync_discards_write) : same();
        return become(Owner::cpu, was_.dir);
    }

    constexpr Outcome for_device() const
    {
        if (!mapped())
            return no(RuleId::sync_outside);
        if (several())
            return with_cache(CacheState::in_step);
        if (with_device())
            return was_.dir == Direction::bi && by_device() ? no(RuleId::sync_discards_write) : same();
        if (was_.dir == Direction::from && by_cpu()) // to the CPU it is read-only: nobody knows which value stays
            return become(Owner::device, was_.dir, false);
        return become(Owner::device, was_.dir);
    }

    constexpr Outcome unmap_() const
    {
        if (!mapped())
            return no(RuleId::use_after_unmap);
        if (several())
            return same(); // the registry counts what remains
        if (with_cpu() && by_cpu()) {
            if (!read_only())
                return no(RuleId::sync_discards_write);
            return to({Owner::cpu, Direction::none, CacheState::cpu_wrote, was_.init});
        }
        return become(Owner::cpu, Direction::none);
    }

    constexpr Outcome unmap_skip_() const
    {
        if (!mapped())
            return no(RuleId::use_after_unmap);
        if (several())
            return same();
        if (with_device() && by_device()) // nobody fetches the device's data
            return to({Owner::cpu, Direction::none, CacheState::device_wrote, false});
        return to({Owner::cpu, Direction::none, was_.cache, was_.init});
    }

    constexpr Outcome unmap_tail_() const
    {
        if (!mapped())
            return no(RuleId::use_after_unmap);
        if (several() || (read_only() && with_cpu()))
            return unmap_();
        // what either side wrote there may or may not survive
        return become(Owner::cpu, Direction::none, was_.cache == CacheState::in_step ? was_.init : false);
    }

    // The rules of an access by a plain pointer to what is not the client's.
    constexpr RuleId not_the_clients() const { return providers() ? RuleId::use_after_free : RuleId::out_of_bounds; }

    constexpr RuleId not_maintainable() const
    {
        return opaque() ? RuleId::opaque_dereference : exported() ? RuleId::cpu_access_bracket : RuleId::out_of_bounds;
    }

    constexpr Outcome cpu_read_() const
    {
        if (opaque())
            return no(RuleId::opaque_dereference);
        if (exported()) // in a bracket; the registry knows
            return same();
        if (unmapped() && by_device())
            return no(RuleId::stale_cpu_read);
        if ((unmapped() && !by_cpu()) || coherent())
            return was_.init ? same() : no(RuleId::read_of_unwritten);
        if (with_device() && !read_only())
            return no(RuleId::cpu_read_of_device_bytes);
        return maintainable() ? same() : no(not_the_clients());
    }

    constexpr Outcome cpu_write_() const
    {
        Byte b = was_;
        b.init = true;
        if (opaque())
            return no(RuleId::opaque_dereference);
        if (exported()) {
            b.cache = CacheState::cpu_wrote;
            return to(b);
        }
        if (coherent())
            return to(b);
        if (!maintainable())
            return no(not_the_clients());
        if (with_device() && !read_only())
            return no(RuleId::cpu_write_of_device_bytes);
        b.cache = CacheState::cpu_wrote;
        if (with_device())
            b.owner = Owner::cpu; // asks for a sync before the device reads
        return to(b);
    }

    constexpr Outcome window(bool write) const
    {
        if (exported() && !write)
            return same();
        if (exported())
            return to({was_.owner, was_.dir, CacheState::cpu_wrote, true});
        if (!coherent() && was_.owner != Owner::guard)
            return no(not_the_clients());
        if (!write)
            return coherent() && !was_.init ? no(RuleId::read_of_unwritten) : same();
        Byte b = was_;
        b.init = true;
        return to(b);
    }

    constexpr Outcome device_read_() const
    {
        if (exported()) // what other devices wrote is theirs to order
            return by_cpu() ? no(RuleId::dirty_device_read) : same();
        if (with_cpu())
            return no(by_cpu() ? RuleId::dirty_device_read : RuleId::device_access_denied);
        if (with_device() && was_.dir == Direction::from)
            return no(RuleId::device_wrong_direction);
        if (with_device() || several() || coherent())
            return was_.init ? same() : no(RuleId::uninitialised_to_device);
        return no(RuleId::device_access_denied);
    }

    constexpr Outcome device_write_() const
    {
        if (mapped() && read_only())
            return no(RuleId::device_wrong_direction);
        Byte b = was_;
        b.init = true;
        if (exported() && by_cpu())
            return no(RuleId::dirty_line_over_device_data);
        if (exported())
            return to({was_.owner, was_.dir, CacheState::device_wrote, true});
        if (coherent())
            return to(b);
        if (!with_device())
            return no(RuleId::device_access_denied);
        b.cache = CacheState::device_wrote;
        return to(b);
    }

    constexpr Outcome invalidate_() const
    {
        if (!maintainable())
            return no(not_maintainable());
        Byte b = was_;
        if (by_cpu()) {
            b.cache = CacheState::in_step;
            b.init = false;
        } else if (unmapped()) {
            b.cache = CacheState::in_step; // now the CPU sees memory, whatever is there
        }
        return to(b);
    }

    // What the provider hands out must have been its own.
    constexpr Outcome granted(Byte b) const
    {
        if (providers())
            return to(b);
        return no(nobodys() ? RuleId::outside_arena : RuleId::overlap);
    }
};

// The code of a state, as map and table store it.
constexpr uint8_t code(const Byte& b)
{
    return state_code(b.owner, b.dir, b.cache, b.init);
}
constexpr Byte byte(uint8_t c)
{
    return {owner_of(c), direction_of(c), cache_of(c), is_initialised(c)};
}

} // namespace dmaudit::model
