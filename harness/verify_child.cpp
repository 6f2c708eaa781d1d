// The part of a search that runs in child processes. A batch is one child, whose threads say in memory that both processes
// see what they are at, and send what each chunk has reached when it is done. If the child dies or hangs, another one with
// one thread does what was not done, and when that dies too it is known of which move. That one is deadly from then on and
// left out, and so on, until all is done. So what is found depends on the moves alone.
#include "harness/child.hpp"
#include "harness/forked.hpp"
#include "harness/verify_search.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <numeric>
#include <sys/mman.h>
#include <thread>
#include <type_traits>

namespace dmaudit {

struct Verifier::Search::Board {
    static constexpr size_t most = 64;
    AtWork at[most];
    int open_error = 0;
    StateKey first; // of the state without moves
};

namespace {

// What the child sends of a chunk: this, then the states and the failures.
struct Message {
    size_t chunk, states, failures;
    VerifyLevel counts;
    std::array<uint64_t, op_count> by_op;
    uint64_t executions, strayed, refused_with_effect;
};
static_assert(std::is_trivially_copyable_v<Message> && std::is_trivially_copyable_v<Reached::State> &&
              std::is_trivially_copyable_v<Reached::Failure>);

template <class T> std::string_view bytes_of(const T* first, size_t n)
{
    return {reinterpret_cast<const char*>(first), n * sizeof(T)};
}

void send(int fd, size_t chunk, const Reached& r)
{
    const Message m{chunk,   r.states.size(), r.failures.size(), r.counts,
                    r.by_op, r.executions,    r.strayed,         r.refused_with_effect};
    write_all(fd, bytes_of(&m, 1));
    write_all(fd, bytes_of(r.states.data(), r.states.size()));
    write_all(fd, bytes_of(r.failures.data(), r.failures.size()));
}

// Takes a whole message from the front of what has arrived.
bool receive(std::string& arrived, size_t& chunk, Reached& r)
{
    Message m;
    if (arrived.size() < sizeof m)
        return false;
    std::memcpy(&m, arrived.data(), sizeof m);
    const size_t states = m.states * sizeof(Reached::State), failures = m.failures * sizeof(Reached::Failure);
    if (arrived.size() < sizeof m + states + failures)
        return false;
    chunk = m.chunk;
    r.states.resize(m.states);
    r.failures.resize(m.failures);
    if (states)
        std::memcpy(static_cast<void*>(r.states.data()), arrived.data() + sizeof m, states);
    if (failures)
        std::memcpy(static_cast<void*>(r.failures.data()), arrived.data() + sizeof m + states, failures);
    r.counts = m.counts;
    r.by_op = m.by_op;
    r.executions = m.executions;
    r.strayed = m.strayed;
    r.refused_with_effect = m.refused_with_effect;
    arrived.erase(0, sizeof m + states + failures);
    return true;
}

// Shared memory with a board in it. Most of its pages are never touched.
template <class Board> struct Shared {
    Shared() : board(new (shared_memory(sizeof(Board))) Board) {}
    ~Shared() { munmap(board, sizeof(Board)); }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    Board* board;
};

// Has a walker that is at work come to a standstill?
class Patience {
  public:
    template <size_t N> bool ended(const AtWork (&at)[N], unsigned workers)
    {
        bool any = false;
        for (unsigned i = 0; i < workers; i++)
            if (at[i].busy)
                any |= walkers_[i].look(at[i].steps);
            else
                walkers_[i] = {};
        return any;
    }

  private:
    std::array<Standstill, 64> walkers_{};
};

} // namespace

bool Verifier::Search::start_in_child(Reached& r, StateKey& key)
{
    const Shared<Board> shared;
    std::string arrived;
    Patience patience;
    const Ended ended = run_forked(
        {std::max(1u, limits.patience_ms / Standstill::looks)},
        [&](int fd) {
            AtWork& at = shared.board->at[0];
            at.busy = true;
            Walker w(scope, limits, moves, provider, at, deadly);
            Reached reached;
            shared.board->open_error = w.start(result.merging, shared.board->first, reached);
            send(fd, 0, reached);
        },
        [&](std::string_view part) { arrived += part; }, [&] { return !patience.ended(shared.board->at, 1); });
    if (size_t which; receive(arrived, which, r)) {
        result.open_error = shared.board->open_error;
        key = shared.board->first;
        return true;
    }
    Case nothing;
    nothing.world = scope.world;
    const Result alone = Child(provider).run(nothing);
    Reached::Failure f{nothing, {ended.stopped ? RuleId::no_progress : RuleId::provider_crash, 0, uint8_t{op_count}}, 1};
    if (alone.violation)
        f.key = key_of(nothing, alone);
    f.value.expect = {Expect::violation, f.key.rule};
    r.counts.violations++;
    r.add(f);
    result.deaths++;
    return false;
}

// After a child that died while one walker was at work: which move was it? False: perhaps it was only slow.
bool Verifier::Search::blame(AtWork& at, bool hung, bool patient)
{
    Reached::Failure f{at.value, {hung ? RuleId::no_progress : RuleId::provider_crash, 0, uint8_t{op_count}}, 1};
    const uint64_t code = at.code;
    const Result alone = code == AtWork::on_the_way ? Result{} : Child(provider).run(f.value);
    if (alone.violation)
        f.key = key_of(f.value, alone);
    else if (hung && !patient)
        return false;
    f.value.expect = {Expect::violation, f.key.rule};
    const auto same = [&](const Deadly& d) { return d.node == at.node && d.code == code; };
    if (std::any_of(deadly.begin(), deadly.end(), same)) {
        std::fprintf(stderr, "dmaudit: verify: the child process ends before it does anything\n");
        std::abort();
    }
    deadly.push_back({at.node, code, f});
    result.deaths += f.key.rule == RuleId::no_progress ? 10 : 1;
    return true;
}

// False: there were too many deaths, and the batch is not done.
bool Verifier::Search::expand_in_children(size_t n, std::vector<Reached>& out)
{
    std::vector<size_t> left(out.size());
    std::iota(left.begin(), left.end(), 0);
    deadly.clear();
    // After a death one walker goes on, so that the next ones are found in order.
    auto workers = static_cast<unsigned>(std::clamp<size_t>(limits.threads, 1, std::min(left.size(), Board::most)));
    unsigned patience_ms = limits.patience_ms;
    while (!left.empty()) {
        const Shared<Board> shared;
        Board& board = *shared.board;
        std::string arrived;
        Patience patience;
        next_chunk = 0;
        const Ended ended = run_forked(
            {std::max(1u, patience_ms / Standstill::looks)},
            [&](int fd) {
                std::mutex one_at_a_time;
                const auto walk = [&](unsigned i) {
                    AtWork& at = board.at[i];
                    at.busy = true;
                    Walker w(scope, limits, moves, provider, at, deadly);
                    work(w, n, left, [&](size_t c, Reached& r) {
                        const std::lock_guard guard(one_at_a_time);
                        send(fd, c, r);
                    });
                    at.busy = false;
                };
                std::vector<std::thread> others;
                for (unsigned i = 1; i < workers; i++)
                    others.emplace_back(walk, i);
                walk(0);
                for (std::thread& t : others)
                    t.join();
            },
            [&](std::string_view part) { arrived += part; }, [&] { return !patience.ended(board.at, workers); });
        size_t c;
        for (Reached r; receive(arrived, c, r); r = {}) {
            std::erase(left, c);
            out[c] = std::move(r);
        }
        if (left.empty())
            break;
        if (workers > 1)
            workers = 1;
        else if (!blame(board.at[0], ended.stopped, patience_ms >= 4 * limits.patience_ms))
            patience_ms *= 2;
        if (limits.deaths && result.deaths >= limits.deaths) {
            Reached died;
            for (const Deadly& d : deadly)
                d.code == AtWork::on_the_way ? void(died.strayed++) : died.add(d.failure);
            out.assign(1, died);
            return false;
        }
    }
    return true;
}

} // namespace dmaudit
