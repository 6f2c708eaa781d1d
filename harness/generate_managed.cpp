// What the generator supposes of managed DMA: which devices have a driver, and what may go with it.
#include "harness/generate_phases.hpp"

#include <algorithm>

namespace dmaudit {

bool Phases::fits(uint8_t op, const Known& k)
{
    switch (op) {
    case is<ops::FreeCoherent>:
        return k.maker == is<ops::AllocCoherent> || k.maker == is<ops::AllocOpaque>;
    case is<ops::FreeNoncoherent>:
        return k.maker == is<ops::AllocNoncoherent>;
    case is<ops::FreePages>:
        return k.maker == is<ops::AllocPages>;
    case is<ops::ReleaseFromPool>:
        return k.maker == is<ops::AllocFromPool>;
    case is<ops::MmapFromPool>: // the generic call may have been served from the pool; else the pool says that it was
                                // not
        return k.maker == is<ops::AllocFromPool> || k.maker == is<ops::AllocCoherent>;
    case is<ops::ReleasePool>:
        return k.maker == is<ops::DeclarePool>;
    case is<ops::SyncForCpu>:
    case is<ops::SyncForDevice>:
        return name_kind(k.name) == obj_mapping || k.maker == is<ops::AllocNoncoherent> ||
               k.maker == is<ops::ManagedAllocNoncoherent>;
    case is<ops::MapSingle>:
        return name_kind(k.name) == obj_buffer;
    case is<ops::ManagedFree>:
        return k.maker == is<ops::ManagedAlloc>;
    case is<ops::ManagedFreeNoncoherent>:
        return k.maker == is<ops::ManagedAllocNoncoherent>;
    case is<ops::ManagedRelease>:
        return k.maker == is<ops::ManagedDeclare>;
    default:
        return true;
    }
}

bool Phases::lacks_driver(uint8_t op) const
{
    return specs()[op].facets == facet_managed && op != is<ops::Bind> &&
           std::none_of(bound_.begin(), bound_.end(), [](bool b) { return b; });
}

// Can what is managed on the device go, from this object on?
bool Phases::can_let_go(uint64_t device, unsigned first, bool driver) const
{
    const auto all = scope_.objects();
    const auto coherent_of_device = [&](const Known& o) { // it may lie in the pool
        return o.alive && o.maker == is<ops::AllocCoherent> && of(o).device == device;
    };
    for (unsigned i = 0; i < all.size(); i++) {
        const Known& o = all[i];
        if (!o.alive)
            continue;
        if (driver && (name_kind(o.name) & (obj_mapping | obj_sg | obj_attachment)) && of(o).device == device)
            return false;
        if (driver && name_kind(o.name) == obj_window && parent(o) && name_kind(parent(o)->name) == obj_block &&
            of(*parent(o)).device == device)
            return false;
        if (i < first || !o.managed || o.device != device)
            continue;
        if (has_living_child(o) ||
            (name_kind(o.name) == obj_pool && std::any_of(all.begin(), all.end(), coherent_of_device)))
            return false;
    }
    return true;
}

// Nothing: the op is as legal as its unmanaged twin.
std::optional<bool> Phases::legal_managed(const Step& s, const Known* used) const
{
    if (specs()[s.op].facets != facet_managed)
        return {};
    if (used) {
        if (name_kind(used->name) == obj_pool) {
            const auto younger = scope_.objects().subspan(index(*used));
            return used->maker == is<ops::ManagedDeclare> && !has_living_child(*used) &&
                   std::none_of(
                       younger.begin(), younger.end(), [&](const Known& o) { // they lie in it, if there was room
                           return o.alive &&
                                  (o.maker == is<ops::AllocCoherent> || o.maker == is<ops::ManagedAlloc>)&&of(o)
                                          .device == of(*used).device;
                       });
        }
        return used->maker == is<ops::ManagedAlloc> && s.op == is<ops::ManagedFree> && !has_living_child(*used);
    }
    const Layout& l = layouts()[s.op];
    const uint64_t dev = s.arg[l.def == Layout::absent ? 0 : 1];
    if (dev >= scope_.world().n_devices)
        return false;
    const bool bound = bound_[dev];
    switch (s.op) {
    case is<ops::Bind>:
        return !bound;
    case is<ops::Unbind>:
        return bound && can_let_go(dev, 0, true);
    case is<ops::ReleaseGroup>: {
        const uint16_t first = scope_.first_of_group(dev, unpack<ops::ReleaseGroup>(s).nth.v);
        return bound && first != Known::no_parent && can_let_go(dev, first, false);
    }
    case is<ops::ManagedAlloc>:
        return bound && has_room(dev, s.arg[l.size], 0);
    case is<ops::ManagedAllocNoncoherent>:
        return bound && has_room(dev, s.arg[l.size], 0) && unpack<ops::ManagedAllocNoncoherent>(s).dir.v < 3;
    case is<ops::ManagedDeclare>:
        return bound ? std::nullopt : std::optional(false);
    default:
        return bound;
    }
}

void Phases::append_managed(const Step& s)
{
    const uint64_t dev = s.arg[0];
    if ((s.op == is<ops::Bind> || s.op == is<ops::Unbind>)&&dev < bound_.size())
        bound_[dev] = s.op == is<ops::Bind>;
}

} // namespace dmaudit
