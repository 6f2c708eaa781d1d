#include "harness/minimise.hpp"
#include "harness/scope.hpp"
#include "harness/smaller.hpp"
#include <algorithm>
#include <bit>

namespace dmaudit {
namespace {

class Minimiser {
  public:
    Minimiser(const Case& c, const std::function<bool(const Case&)>& still_fails, Budget budget)
        : still_fails_(still_fails), budget_(budget)
    {
        best_.value = c;
    }

    Minimised run()
    {
        for (unsigned i = 0; i < budget_.confirm && !spent(); i++) {
            best_.tries++;
            if (!still_fails_(best_.value)) {
                best_.deterministic = false;
                return best_;
            }
        }
        bool again = true;
        while (again && !spent()) {
            again = cut_tail();
            again |= drop_unrelated();
            again |= remove_chunks();
            again |= remove_pairs();
            again |= drop_faults();
            again |= share_objects();
            again |= simplify_world();
            again |= lower_values();
            again |= plainer_kinds();
            again |= renumber();
        }
        // The loop above ended because nothing helped; say so by trying, also where the budget ended it.
        while (!spent()) {
            bool removed = false;
            for (unsigned i = best_.value.count; i-- > 0 && !removed;)
                removed = accept(without(best_.value, i, 1));
            if (!removed) {
                best_.one_minimal = !refused_;
                break;
            }
        }
        return best_;
    }

  private:
    const std::function<bool(const Case&)>& still_fails_;
    Budget budget_;
    Minimised best_;
    bool refused_ = false; // a try was not made for want of budget

    bool spent() const { return best_.tries >= budget_.tries || (budget_.stop && budget_.stop()); }

    // Tries a candidate; takes it if it is simpler and still fails.
    bool accept(const Case& c)
    {
        if (!(cost_of(c) < cost_of(best_.value)) || !case_error(c).empty())
            return false;
        if (spent()) {
            refused_ = true;
            return false;
        }
        best_.tries++;
        if (!still_fails_(c))
            return false;
        best_.value = c;
        return true;
    }

    // Steps behind the failing one: found by halving, as most failures end the run.
    bool cut_tail()
    {
        bool any = false;
        for (unsigned cut = best_.value.count / 2; cut > 0; cut /= 2)
            while (cut <= best_.value.count && accept(without(best_.value, best_.value.count - cut, cut)))
                any = true;
        return any;
    }

    // The failing step is the last one by now, as a rule.
    bool drop_unrelated() { return accept(without_unrelated(best_.value)); }

    bool remove_chunks()
    {
        bool any = false;
        for (unsigned chunk = std::max(1u, best_.value.count / 2u); chunk > 0; chunk /= 2) {
            for (unsigned i = best_.value.count; i > 0 && !spent();) { // from the end: dependents go first
                i -= std::min(i, chunk);
                any |= accept(without(best_.value, i, chunk));
                i = std::min<unsigned>(i, best_.value.count);
            }
        }
        return any;
    }

    // Two steps that only go together (a fault and the op it hits, an op and its undoing). Small cases only: it is
    // quadratic.
    bool remove_pairs()
    {
        if (best_.value.count > 12)
            return false;
        for (unsigned k = best_.value.count; k-- > 1;)
            for (unsigned i = k; i-- > 0;)
                if (accept(without(without(best_.value, k, 1), i, 1)))
                    return true;
        return false;
    }

    // All at once; one by one they go with the chunks.
    bool drop_faults()
    {
        bool any = false;
        Case c = best_.value;
        for (unsigned i = c.count; i-- > 0;)
            if (specs()[c.steps[i].op].actor == Actor::machine)
                c = without(c, i, 1);
        any |= accept(c);
        return any;
    }

    // One object where two would do. Every use of the later one goes to the earlier one, which is made in its own way
    // or in that of the other; where both are given back, once is enough. Then single uses: the earlier the object, the
    // simpler. Small cases only, as with pairs.
    bool share_objects()
    {
        bool any = false;
        if (best_.value.count > 16)
            return false;
        for (unsigned later = best_.value.count; later-- > 1 && !spent();)
            for (unsigned earlier = 0; earlier < std::min<unsigned>(later, best_.value.count); earlier++)
                if (try_one_for_two(earlier, later) || try_sum(earlier, later)) {
                    any = true;
                    break;
                }
        for (unsigned i = 1; i < best_.value.count && !spent(); i++) {
            const auto fields = specs()[best_.value.steps[i].op].fields;
            for (size_t a = 0; a < fields.size(); a++)
                if (fields[a].shape == Shape::use)
                    any |= try_earlier_object(i, a);
        }
        return any;
    }
    bool try_one_for_two(unsigned earlier, unsigned later)
    {
        for (const bool as_the_later : {false, true})
            for (const bool once : {false, true})
                if (const auto c = one_for_two(best_.value, earlier, later, as_the_later, once); c && accept(*c))
                    return true;
        return false;
    }
    // One object as large as two: the other was only there to take its room.
    bool try_sum(unsigned earlier, unsigned later)
    {
        const Case& c = best_.value;
        const Layout &e = layouts()[c.steps[earlier].op], &l = layouts()[c.steps[later].op];
        if (e.makes == obj_none || e.makes != l.makes || e.size == Layout::absent || l.size == Layout::absent)
            return false;
        const uint64_t page = c.world.page, a = c.steps[earlier].arg[e.size], b = c.steps[later].arg[l.size];
        if (a > max_ram || b > max_ram)
            return false;
        const uint64_t pages = (a + page - 1) / page + (b + page - 1) / page;
        for (const uint64_t size :
             {a + b, pages * page, std::bit_ceil(pages) * page, 2 * std::bit_ceil(pages) * page}) {
            Case one = without(c, later, 1);
            one.steps[earlier].arg[e.size] = size;
            if (accept(one))
                return true;
        }
        return false;
    }
    bool try_earlier_object(unsigned step, size_t a)
    {
        const uint64_t name = best_.value.steps[step].arg[a];
        for (unsigned number = 0; number < name_number(name); number++)
            if (try_value(step, a, name_of(name_kind(name), number)))
                return true;
        return false;
    }

    bool try_world(const World& w)
    {
        Case c = best_.value;
        c.world = w;
        return accept(c);
    }

    bool simplify_world()
    {
        bool any = false;
        World plain;
        plain.mode = best_.value.world.mode;
        any |= try_world(plain);
        const auto change = [&](auto edit) {
            World w = best_.value.world;
            edit(w);
            any |= try_world(w);
        };
        while (best_.value.world.n_devices > 1 && !spent()) {
            const unsigned before = best_.value.world.n_devices;
            change([](World& w) { w.devices[--w.n_devices] = DeviceSpec{}; });
            if (best_.value.world.n_devices == before)
                break;
        }
        while (best_.value.world.n_banks > 1 && !spent()) {
            const unsigned before = best_.value.world.n_banks;
            change([](World& w) { w.banks[--w.n_banks] = BankSpec{}; });
            if (best_.value.world.n_banks == before)
                break;
        }
        change([](World& w) { w.line = 64; });
        for (const StrictMode& mode : strict_modes)
            change([&](World& w) { w.strict.*mode.on = false; });
        change([](World& w) { // pages of 4 KiB, in the same number
            const uint64_t scale = w.page / 4096;
            w.page = 4096;
            for (unsigned b = 0; b < w.n_banks; b++)
                w.banks[b].size /= scale;
        });
        for (unsigned b = 0; b < best_.value.world.n_banks; b++) {
            change([&](World& w) { w.banks[b].phys = World{}.banks[0].phys + b * 0x10000000; });
            for (const uint64_t pages : {4u, 8u, 16u, 32u, 64u})
                change([&](World& w) { w.banks[b].size = pages * w.page; });
        }
        for (unsigned d = 0; d < best_.value.world.n_devices; d++) {
            change([&](World& w) { w.devices[d] = DeviceSpec{}; });
            change([&](World& w) { w.devices[d].limit = DeviceSpec{}.limit; });
            change([&](World& w) { w.devices[d].limit = all_ones; });
            change([&](World& w) { w.devices[d].offset = 0; });
            change([&](World& w) { w.devices[d].coherent = 0; });
            change([&](World& w) { w.devices[d].iommu = 0; });
        }
        return any;
    }

    bool try_value(unsigned step, size_t a, uint64_t v)
    {
        Case c = best_.value;
        c.steps[step].arg[a] = v;
        return accept(c);
    }

    // To the simplest value that still fails: default, 0, 1, boundaries, then by halving the distance.
    bool lower_values()
    {
        bool any = false;
        for (unsigned i = 0; i < best_.value.count && !spent(); i++) {
            const auto fields = specs()[best_.value.steps[i].op].fields;
            for (size_t a = 0; a < fields.size(); a++) {
                if (is_name(fields[a].shape))
                    continue;
                const World& w = best_.value.world;
                const uint64_t boundaries[] = {default_of(fields[a].shape).value_or(0),
                                               0,
                                               1,
                                               2,
                                               4,
                                               8,
                                               16,
                                               w.line,
                                               2 * w.line,
                                               w.page,
                                               2 * w.page,
                                               1024};
                for (const uint64_t v : boundaries)
                    any |= try_value(i, a, v);
                for (const Enumerator& e : words(fields[a].shape))
                    any |= try_value(i, a, e.value);
                if (!words(fields[a].shape).empty())
                    continue;
                for (uint64_t cut = best_.value.steps[i].arg[a] / 2; cut > 0 && !spent(); cut /= 2)
                    while (cut <= best_.value.steps[i].arg[a] && try_value(i, a, best_.value.steps[i].arg[a] - cut))
                        any = true;
            }
            any |= shrink_together(i);
        }
        return any;
    }

    // A size that others repeat (lengths of maps, syncs, accesses) only goes down together with them, and places near
    // its end only with it.
    bool try_size(uint64_t old, uint64_t v, bool places_too)
    {
        Case c = best_.value;
        for (unsigned i = 0; i < c.count; i++) {
            const Layout& k = layouts()[c.steps[i].op];
            for (const uint8_t a : {k.size, k.len})
                if (a != Layout::absent && c.steps[i].arg[a] == old)
                    c.steps[i].arg[a] = v;
            if (places_too && k.off != Layout::absent && c.steps[i].arg[k.off] >= old - v)
                c.steps[i].arg[k.off] -= old - v;
        }
        return accept(c);
    }
    bool shrink_together(unsigned step)
    {
        bool any = false;
        const Layout& l = layouts()[best_.value.steps[step].op];
        if (l.size == Layout::absent && l.len == Layout::absent)
            return false;
        const auto size = [&] { return best_.value.steps[step].arg[l.size != Layout::absent ? l.size : l.len]; };
        const World& w = best_.value.world;
        for (const uint64_t v : {uint64_t{1}, uint64_t{8}, w.line, 2 * w.line, w.page, size() & ~(w.line - 1)})
            if (v < size() && try_size(size(), v, false)) {
                any = true;
                break;
            }
        for (uint64_t cut = size() / 2; cut > 0 && !spent(); cut /= 2)
            while (cut < size() && (try_size(size(), size() - cut, false) || try_size(size(), size() - cut, true)))
                any = true;
        return any;
    }

    // Another op that makes the same kind of object, with what both have in common: map_single for map_single_within.
    // What gives the object back may have to be of the same family then: release_pool for managed_release.
    bool plainer_kinds()
    {
        bool any = false;
        for (unsigned i = 0; i < best_.value.count && !spent(); i++) {
            const Step old = best_.value.steps[i];
            const Layout& from = layouts()[old.op];
            if (from.makes == obj_none)
                continue;
            for (uint8_t op = 0; op < old.op; op++) {
                const Layout& to = layouts()[op];
                if (to.makes != from.makes || to.n_names != from.n_names)
                    continue;
                Case c = best_.value;
                c.steps[i] = in_terms_of(op, old);
                if (accept(c) || try_with_its_end(c, i)) {
                    any = true;
                    break;
                }
            }
        }
        return any;
    }
    bool try_with_its_end(const Case& c, unsigned maker)
    {
        const Step& made = c.steps[maker];
        for (unsigned i = maker + 1u; i < c.count; i++) {
            const Step end = c.steps[i];
            const uint8_t use = layouts()[end.op].use;
            if (specs()[end.op].ends != Ends::first_use || end.arg[use] != made.arg[layouts()[made.op].def])
                continue;
            for (uint8_t op = 0; op < op_count; op++) {
                if (op == end.op || specs()[op].ends != Ends::first_use ||
                    layouts()[op].n_names != layouts()[end.op].n_names ||
                    !(layouts()[op].needs & layouts()[made.op].makes) ||
                    !(specs()[op].facets & specs()[made.op].facets))
                    continue;
                Case both = c;
                both.steps[i] = in_terms_of(op, end);
                if (accept(both))
                    return true;
            }
            return false; // it ends once
        }
        return false;
    }
    // b0, b1, ... in the order of their definitions.
    bool renumber()
    {
        Case c = best_.value;
        std::array<std::array<uint8_t, max_names>, obj_kinds> to{};
        std::array<uint8_t, obj_kinds> next{};
        for (unsigned i = 0; i < c.count; i++) {
            const auto fields = specs()[c.steps[i].op].fields;
            for (size_t a = 0; a < fields.size(); a++) {
                if (!is_name(fields[a].shape))
                    continue;
                uint64_t& name = c.steps[i].arg[a];
                const auto kind = static_cast<size_t>(obj_index(name_kind(name)));
                if (fields[a].shape == Shape::def)
                    to[kind][name_number(name)] = next[kind]++;
                name = name_of(name_kind(name), to[kind][name_number(name)]);
            }
        }
        return accept(c);
    }
};

} // namespace

Minimised minimise_by(const Case& c, const std::function<bool(const Case&)>& still_fails, Budget budget)
{
    return Minimiser(c, still_fails, budget).run();
}

} // namespace dmaudit
