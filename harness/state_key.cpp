#include "harness/state_key.hpp"

#include "machine/bytes.hpp"

#include <algorithm>
#include <cstring>

namespace dmaudit {

class StateWriter {
  public:
    StateWriter(const Run& run, const Session& session, std::vector<uint64_t>* words)
        : run_(run), session_(session), machine_(run.machine_), a_(run.auditor_), words_(words)
    {
    }

    std::optional<StateKey> write()
    {
        uint64_t own[2];
        if (!session_.provider_hash(own))
            return {};
        add(own[0]);
        add(own[1]);
        registries();
        bytes();
        memory();
        cache();
        for (unsigned i = 0; i < machine_.spec().n_devices; i++)
            machine_.iommu(i).each([&](const Iommu::Page& p, bool stale) {
                add(p.iova);
                add(p.at);
                add(uint64_t{p.rights} << 1 | stale);
            });
        requests();
        return key_;
    }

  private:
    // ---- words ----
    void add(uint64_t word)
    {
        dmaudit_hash_add(key_.bits.data(), word);
        if (words_)
            words_->push_back(word);
    }
    void add(Range r)
    {
        add(r.at);
        add(r.len);
    }
    // 64 bytes at once: two sums of products of all of them, with different keys.
    void add_line(const uint8_t* from)
    {
        __extension__ using Wide = unsigned __int128;
        constexpr uint64_t keys[2][8] = {
            {0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3, 0x589965cc75374cc3, 0x1d8e4e27c47d124f,
             0xeb44accab455d165, 0x9c6e6877736c46e3, 0x8f3907f7a3f8e4d1},
            {0x2d358dccaa6c78a5, 0x8bb84b93962eacc9, 0x4b33a62ed433d4a3, 0x4d5a2da51de1aa47, 0xd3833e804f4c574b,
             0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9, 0xff51afd7ed558ccd}};
        uint64_t w[8], sums[2] = {0, 0};
        std::memcpy(w, from, sizeof w);
        for (unsigned k = 0; k < 2; k++)
            for (unsigned i = 0; i < 8; i += 2) {
                const Wide p = static_cast<Wide>(w[i] ^ keys[k][i]) * (w[i + 1] ^ keys[k][i + 1]);
                sums[k] += static_cast<uint64_t>(p) ^ static_cast<uint64_t>(p >> 64);
            }
        dmaudit_hash_add(key_.bits.data(), sums[0]);
        dmaudit_hash_add(key_.bits.data(), sums[1]);
        if (words_)
            words_->insert(words_->end(), w, w + 8);
    }
    void add_bytes(const uint8_t* from, uint64_t len)
    {
        for (; len >= 64; from += 64, len -= 64)
            add_line(from);
        for (; len >= 8; from += 8, len -= 8) {
            uint64_t w;
            std::memcpy(&w, from, 8);
            add(w);
        }
        uint64_t w = 0;
        std::memcpy(&w, from, len);
        if (len)
            add(w);
    }

    // ---- registries ----
    using Words = std::vector<uint64_t>;
    struct Numbered {
        Tag tag;
        Words content;
    };

    // The live records of a kind, ordered by content. Where two are equal either may be first.
    template <class Registry, class Content> void number(std::vector<Numbered>& order, const Registry& of, Content content)
    {
        order.clear();
        for (uint32_t i = 0; i < of.live_count(); i++) {
            const Tag t = of.live(i);
            order.push_back({t, {}});
            content(t, of[t], order.back().content);
        }
        std::sort(order.begin(), order.end(), [](const Numbered& x, const Numbered& y) {
            return x.content != y.content ? x.content < y.content : x.tag < y.tag;
        });
        add(order.size());
        for (const Numbered& n : order)
            for (const uint64_t w : n.content)
                add(w);
    }
    uint64_t place(Tag t) const // of a live object of a kind that has been numbered
    {
        const auto& order = orders_[static_cast<size_t>(tag_kind(t))];
        const auto at = std::find_if(order.begin(), order.end(), [t](const Numbered& n) { return n.tag == t; });
        return static_cast<uint64_t>(at - order.begin());
    }
    uint64_t reference(Tag t) const
    {
        if (t == 0)
            return 0;
        const auto kind = static_cast<uint64_t>(tag_kind(t));
        return a_.alive(t) ? kind << 32 | (place(t) + 1) : kind << 32 | a_.bytes_of(t).at << 40 | 0xffff;
    }
    std::vector<Numbered>& order_of(Kind k) { return orders_[static_cast<size_t>(k)]; }
    uint64_t address(const void* cpu) const // host addresses differ between sessions
    {
        const auto at = reinterpret_cast<uintptr_t>(cpu), door = reinterpret_cast<uintptr_t>(machine_.door());
        return cpu ? at - door : ~uint64_t{0};
    }
    static void put(Words& w, std::initializer_list<uint64_t> more) { w.insert(w.end(), more); }
    static void put(Words& w, Range r) { put(w, {r.at, r.len}); }
    template <unsigned most> static void put(Words& w, const Ranges<most>& some, Range of)
    {
        for (uint64_t at = of.at; at < of.end();) {
            const uint64_t next = some.next_edge(at, of.end());
            put(w, {next, some.touches({at, next - at})});
            at = next;
        }
    }

    bool named(Tag buffer) const // by the case: else it goes when it is exported no more
    {
        for (unsigned n = 0; n < max_names; n++)
            if (run_.made(name_of(obj_buffer, n)) && run_.buffers_[n] == buffer)
                return true;
        return false;
    }

    // Each kind after those that its records refer to.
    void registries()
    {
        number(order_of(Kind::pool), a_.pools(), [&](Tag, const PoolRecord& p, Words& w) {
            put(w, p.at);
            put(w, {p.device, p.exclusive, p.managed});
        });
        number(order_of(Kind::buffer), a_.buffers(), [&](Tag t, const BufferRecord& b, Words& w) {
            put(w, b.at);
            put(w, {named(t), b.mappable});
        });
        number(order_of(Kind::block), a_.blocks(), [&](Tag, const BlockRecord& b, Words& w) {
            put(w, b.at);
            put(w, b.granted);
            put(w, {b.device, reference(b.pool), b.windows, b.reachable, b.opaque, static_cast<uint64_t>(b.direction),
                    b.managed, b.pages, b.tail_sum, b.tail_open});
            const dmaudit_block& i = b.inner;
            put(w, {i.device, address(i.cpu), i.bus, i.size, i.granted, i.flags, i.attrs});
        });
        number(order_of(Kind::exported), a_.bufs(), [&](Tag, const BufRecord& b, Words& w) {
            put(w, b.at);
            put(w, {reference(b.of), b.refs, b.attachments, b.windows, b.n_brackets});
            for (uint32_t i = 0; i < b.n_brackets; i++) {
                put(w, b.brackets[i].at);
                put(w, {static_cast<uint64_t>(b.brackets[i].direction)});
            }
        });
        number(order_of(Kind::dma_buf), a_.buf_refs(),
               [&](Tag, const BufRefRecord& r, Words& w) { put(w, {reference(r.buf)}); });
        number(order_of(Kind::sg), a_.sgs(), [&](Tag, const SgRecord& s, Words& w) {
            put(w, s.hull);
            put(w, {s.bytes, s.device, s.n, static_cast<uint64_t>(s.direction), s.n_segments});
            for (uint32_t i = 0; i < s.n; i++)
                put(w, {address(s.inner_entries[i].cpu), s.inner_entries[i].length});
            for (uint32_t i = 0; i < s.n_segments; i++)
                put(w, {s.segments[i].bus, s.segments[i].length});
        });
        number(order_of(Kind::mapping), a_.mappings(), [&](Tag, const MappingRecord& m, Words& w) { mapping(m, w); });
        for (const Numbered& n : order_of(Kind::sg))
            for (uint32_t i = 0; i < a_.sgs()[n.tag].n; i++)
                add(reference(a_.sgs()[n.tag].entries[i]));
        number(order_of(Kind::window), a_.windows(), [&](Tag, const WindowRecord& v, Words& w) {
            put(w, v.at);
            put(w, {reference(v.block), reference(v.buf), v.kind, v.page});
        });
        number(order_of(Kind::attachment), a_.attachments(), [&](Tag, const AttachmentRecord& r, Words& w) {
            put(w, {reference(r.buf), r.device, r.mapped, r.maps[0], r.maps[1], r.maps[2],
                    static_cast<uint64_t>(r.direction), r.bounced, r.alone, r.n});
            for (uint32_t i = 0; i < r.n; i++) {
                put(w, {r.segments[i].bus, r.segments[i].length});
                put(w, r.targets[i]);
            }
        });
        for (const Tag t : a_.fds())
            add(reference(t));
        for (unsigned i = 0; i < machine_.spec().n_devices; i++) {
            const Auditor::Driver& d = a_.driver(i);
            add(d.mask);
            add(d.coherent_mask);
            add(d.min_align_mask);
        }
        for (unsigned n = 0; run_.case_.world.strict.check_errors && n < max_names;
             n++) // by name: a client may ask about them
            if (run_.failed_maps_[n])
                add(n);
        add(run_.atomic_);
        Words since;
        for (const Pieces* h : {&a_.unordered(), &a_.fetched(), &a_.supplied()}) // empty, but in strict worlds
            put(since, *h, {0, machine_.ram_size()});
        for (const uint64_t word : since)
            add(word);
        const Ledger& l = a_.managed();
        for (unsigned i = 0; i < machine_.spec().n_devices; i++)
            add(l.bound(i));
        add(l.next_id); // groups that are gone are asked for: they must be refused
        for (uint32_t i = 0; i < l.count(); i++) { // in order; actions by their place alone
            const Resource& r = l[i];
            add(static_cast<uint64_t>(r.kind));
            add(r.device);
            add(uint64_t{r.uncached} << 1 | r.late);
            add(reference(r.tag));
            if (r.kind == Resource::Kind::group)
                add(r.id);
            if (r.kind == Resource::Kind::action)
                add(l.action(r.which).runs);
        }
    }

    void mapping(const MappingRecord& m, Words& w) const
    {
        put(w, m.original);
        put(w, m.target);
        put(w, {m.device, static_cast<uint64_t>(m.direction), reference(m.object), m.reachable, m.bounced, m.blind,
                reference(m.sg)});
        put(w, {run_.case_.world.strict.check_errors && m.tested});
        const dmaudit_mapping& i = m.inner;
        put(w, {i.device, address(i.cpu), i.bus, i.size, i.direction, i.attrs});
        put(w, m.held, m.original);
    }

    // ---- bytes ----
    void bytes()
    {
        const Range all{0, machine_.ram_size()};
        a_.map().for_each_run(all, [&](Range r, uint8_t s) {
            add(r.len << 8 | s);
            // Of undefined bytes nobody knows what they hold, and nobody asks.
            if (is_initialised(s) && owner_of(s) != Owner::none && owner_of(s) != Owner::provider)
                add_bytes(session_.contents().at(r.at), r.len);
        });
        a_.identity().for_each_run(all, [&](Range r, uint32_t tag) {
            add(r.len);
            add(reference(tag));
        });
    }

    // Lines that are not as they were at the beginning.
    void changed_lines(const uint8_t* view, uint64_t block)
    {
        constexpr uint64_t unit = 64;
        const uint8_t* initial = Ram::initial_page();
        for (uint64_t i = 0; i < Cache::block_bytes; i += unit)
            if (!same_bytes(view + block + i, initial + i, unit)) {
                add(block + i);
                add_bytes(view + block + i, unit);
            }
    }
    void memory()
    {
        for (uint64_t at = 0; at < machine_.ram_size(); at += Cache::block_bytes)
            if (!same_page(machine_.door() + at, Ram::initial_page()))
                changed_lines(machine_.door(), at);
        add(~uint64_t{0});
    }
    void cache()
    {
        const Cache& c = machine_.cache();
        for (uint64_t at = 0; at < machine_.ram_size(); at += machine_.spec().page)
            add(c.uncached(at));
        if (!c.simulated())
            return;
        for (uint64_t at = 0; at < machine_.ram_size(); at += Cache::block_bytes) {
            if (!c.touched(at))
                continue;
            changed_lines(c.device_bytes(), at);
            for (uint64_t l = at; l < at + Cache::block_bytes; l += c.line()) {
                const bool saved = c.device_wrote_line(l), forced = c.forced_dirty(l);
                if (saved || forced)
                    add(l << 2 | uint64_t{saved} << 1 | forced);
                if (saved)
                    add_bytes(c.exchanged_bytes() + l, c.line());
            }
        }
        add(~uint64_t{0});
    }

    // ---- what is asked for once more at the end ----
    void request(const dmaudit_request& r)
    {
        for (const uint64_t w : {uint64_t{r.device}, r.size, r.align, r.limit, r.boundary, uint64_t{r.flags}, uint64_t{r.attrs}})
            add(w);
    }
    void requests()
    {
        const FirstRequests& f = run_.first_;
        add(uint64_t{f.coherent_.known} | uint64_t{f.pool_.known} << 1 | uint64_t{f.mapping_.known} << 2 |
            uint64_t{f.mapping_.bounced} << 3 | uint64_t{f.noncoherent_.known} << 4);
        if (f.coherent_.known) {
            request(f.coherent_.req);
            add(reference(f.coherent_.pool));
        }
        if (f.pool_.known) {
            add(reference(f.pool_.pool));
            add(f.pool_.size);
        }
        if (f.mapping_.known) {
            request(f.mapping_.req);
            add(f.mapping_.at);
            add(f.mapping_.min_align_mask);
            add(f.mapping_.direction);
        }
        if (f.noncoherent_.known) {
            request(f.noncoherent_.req);
            add(f.noncoherent_.direction);
            add(static_cast<uint64_t>(f.noncoherent_.via));
        }
    }

    const Run& run_;
    const Session& session_;
    const Machine& machine_;
    const Auditor& a_;
    std::vector<uint64_t>* words_;
    StateKey key_{{0x452821e638d01377, 0xbe5466cf34e90c6c}};
    std::array<std::vector<Numbered>, static_cast<size_t>(Kind::exported) + 1> orders_;
};

std::optional<StateKey> state_key(const Run& run, const Session& session, std::vector<uint64_t>* words)
{
    return StateWriter(run, session, words).write();
}

} // namespace dmaudit
