// The inside of a search: its states, and how far it has come.
#pragma once
#include "harness/walker.hpp"

#include <algorithm>
#include <atomic>

namespace dmaudit {

struct Verifier::Search final : KnownStates {
    struct Node {
        StateKey key;
        uint64_t code;
        uint32_t parent;
        uint32_t fails;
    };

    Search(const VerifyScope& s, const dmaudit_provider& p, const VerifyLimits& l)
        : scope(s), provider(p), limits(l), moves(scope)
    {
        result.merging = l.merge && DMAUDIT_HAS(&provider, state_hash);
    }

    // See Verifier.
    std::string save() const;
    std::string load(std::string_view);
    std::string fingerprint() const;
    bool plausible() const;

    bool known(const StateKey& key) const override { return find(key) != nowhere; }

    // ---- states ----
    static constexpr uint32_t nowhere = ~0u;
    size_t slot_of(const StateKey& key) const
    {
        size_t i = key.bits[0] & (table.size() - 1);
        while (table[i] != nowhere && !(nodes[table[i]].key == key))
            i = (i + 1) & (table.size() - 1);
        return i;
    }
    uint32_t find(const StateKey& key) const { return table.empty() ? nowhere : table[slot_of(key)]; }
    void add(const Node& n)
    {
        nodes.push_back(n);
        if (!result.merging)
            return;
        if (nodes.size() * 2 > table.size()) {
            table.assign(table.empty() ? 1024 : table.size() * 2, nowhere);
            for (uint32_t i = 0; i < nodes.size(); i++)
                table[slot_of(nodes[i].key)] = i;
        } else
            table[slot_of(n.key)] = static_cast<uint32_t>(nodes.size() - 1);
    }
    void path_to(uint32_t node, std::vector<uint64_t>& path) const
    {
        path.clear();
        for (; node; node = nodes[node].parent)
            path.push_back(nodes[node].code);
        std::reverse(path.begin(), path.end());
    }

    void start();
    void take(const Reached&, unsigned depth);
    bool expand_all(size_t n, std::vector<Reached>& out); // n states from `cursor` on; false: too many deaths
    void run();

    // ---- who works ----
    // A batch is what is done between two looks at the limits, a chunk what one thread takes. Both are fixed, so that
    // the counts are the same for any number of threads.
    static constexpr size_t batch = 256, chunk = 8;
    Walker& walker(size_t i); // in this process
    using Done = std::function<void(size_t chunk, Reached&)>;
    void work(Walker&, size_t n, const std::vector<size_t>& chunks, const Done&);
    // In child processes (verify_child.cpp).
    struct Board;
    bool start_in_child(Reached&, StateKey&); // false: it does not survive that
    bool expand_in_children(size_t n, std::vector<Reached>& out);
    bool blame(AtWork&, bool hung, bool patient);

    VerifyScope scope;
    const dmaudit_provider& provider;
    VerifyLimits limits;
    Moves moves;
    VerifyResult result;
    std::vector<Node> nodes;        // level after level; the first one is the state without moves
    std::vector<uint32_t> table;    // of nodes, by key
    std::vector<size_t> level_from; // first node of each level; the last entry: where the next one will begin
    size_t cursor = 0;              // the next node to be expanded
    std::string without_batch;      // the search as it was before the batch in which it died too often
    std::vector<std::unique_ptr<AtWork>> at_work; // of the walkers in this process
    std::vector<std::unique_ptr<Walker>> walkers;
    std::vector<Deadly> deadly; // moves of the running batch
    std::atomic<size_t> next_chunk{0};
};

} // namespace dmaudit
