#include "harness/walker.hpp"

#include "harness/scope.hpp"

#include <algorithm>

namespace dmaudit {

void Reached::add(const Failure& f)
{
    for (Failure& known : failures)
        if (known.key == f.key) {
            known.cases += f.cases;
            return;
        }
    failures.push_back(f);
}

Walker::Walker(const VerifyScope& scope, const VerifyLimits& limits, const Moves& moves,
               const dmaudit_provider& provider, AtWork& at, const std::vector<Deadly>& deadly)
    : scope_(scope), limits_(limits), moves_(moves), provider_(provider), at_(at), deadly_(deadly)
{
    case_.world = scope.world;
}

// ---- running ----

bool Walker::open(Reached& out)
{
    out.executions++;
    run_.reset();
    if (session_.open(scope_.world, provider_) != DMAUDIT_OK)
        return false;
    session_.auditor().forward_illegal(false); // a client that conforms
    case_.count = 0;
    defined_ = {};
    violation_.reset();
    run_.emplace(case_, session_, provider_, tally_);
    return true;
}

// A move that is refused has changed nothing; what a failed one has changed does not matter any more.
Walker::Ran Walker::make(const Move& m)
{
    const uint16_t before = case_.count;
    for (unsigned i = 0; i < m.n; i++) {
        const Step& step = m.steps[i];
        at_.steps = at_.steps + 1;
        at_step_ = case_.count;
        case_.push(step);
        session_.machine().begin_call(); // counts its platform calls, also where it makes none
        const Skip skip = run_->step(step);
        if (session_.violation()) {
            if (skip == Skip::illegal && rule(session_.violation()->rule).fault == Fault::client) {
                session_.forgive();
                case_.count = before;
                return Ran::refused;
            }
            violation_ = session_.violation();
            return Ran::failed;
        }
        if (skip != Skip::executed) {
            case_.count = before;
            return Ran::refused;
        }
    }
    const Step& step = m.steps[m.n - 1];
    if (const Obj made = layouts()[step.op].makes)
        defined_[static_cast<size_t>(obj_index(made))]++;
    return Ran::done;
}

void Walker::close(bool give_back)
{
    if (give_back) {
        run_->finish();
        violation_ = session_.violation();
    }
    run_.reset();
    session_.close();
    if (give_back && !violation_)
        violation_ = session_.violation();
}

int Walker::start(bool merge, StateKey& key, Reached& out)
{
    if (!open(out))
        return session_.open(scope_.world, provider_);
    if (merge)
        key = state_key(*run_, session_).value_or(StateKey{});
    close(true);
    at_step_ = 0;
    if (violation_)
        failed(out);
    return DMAUDIT_OK;
}

// The moves of the path, decoded while they are made; what they are made of is kept.
bool Walker::follow(std::span<const uint64_t> path, Reached& out)
{
    if (!open(out))
        return false;
    for (const uint64_t code : path) {
        situation_.look(*run_, defined_);
        Choices choices = Choices::at(code);
        Move m;
        if (!moves_.propose(choices, situation_, m))
            return false;
        const Adversary a = Adversary::at(choices.rest());
        if (a.kind > Adversary::fail && a.line >= situation_.lines().size())
            return false;
        moves_.arm(a, situation_, m);
        if (make(m) != Ran::done)
            return false;
    }
    path_.assign(case_.steps.begin(), case_.steps.begin() + case_.count);
    defined_by_path_ = defined_;
    situation_.look(*run_, defined_);
    return true;
}

// To the end of the same path once more.
void Walker::again(Reached& out)
{
    open(out);
    for (const Step& s : path_) {
        at_.steps = at_.steps + 1;
        case_.push(s);
        run_->step(s);
    }
    defined_ = defined_by_path_;
}

StateKey Walker::key_at(std::span<const uint64_t> path)
{
    Reached unused;
    StateKey key;
    if (follow(path, unused))
        key = state_key(*run_, session_).value_or(StateKey{});
    if (run_)
        close(false);
    return key;
}

// ---- one state ----

// The provider calls the platform: what would the adversary change here?
void Walker::platform_call()
{
    const Cache& cache = session_.machine().cache();
    const auto nth = static_cast<unsigned>(session_.machine().platform_calls());
    for (unsigned i = 0; i < situation_.lines().size(); i++) {
        const uint64_t at = situation_.lines()[i].at;
        if (cache.line_dirty(at))
            chances_.push_back({Adversary::evict, nth, i}); // a reload leaves it alone
        else if (cache.line_stale(at))
            chances_.push_back({Adversary::prefetch, nth, i}); // and so would an eviction
    }
}

void Walker::failed(Reached& out)
{
    Result r;
    r.violation = violation_;
    r.step = at_step_;
    Reached::Failure f{case_, key_of(case_, r), 1};
    f.value.expect = {Expect::violation, f.key.rule};
    out.counts.violations++;
    out.add(f);
}

const Deadly* Walker::deadly(uint32_t node, uint64_t code) const
{
    const auto at =
        std::find_if(deadly_.begin(), deadly_.end(), [&](const Deadly& d) { return d.node == node && d.code == code; });
    return at == deadly_.end() ? nullptr : &*at;
}

// The move that was just made, and the end of its case.
void Walker::judge(Ran ran, uint64_t code, uint32_t parent, const KnownStates* known, Reached& out)
{
    out.counts.cases++;
    out.by_op[case_.steps[case_.count - 1].op]++;
    if (ran == Ran::failed) {
        run_.reset();
        session_.close();
        failed(out);
        return;
    }
    if (limits_.look)
        limits_.look(*run_, session_);
    Reached::State state{{}, code, parent, false};
    if (known) {
        const auto key = state_key(*run_, session_);
        if (!key) { // the provider's hash failed: nothing is known of this state
            out.strayed++;
            close(false);
            return;
        }
        state.key = *key;
        if (known->known(state.key) || !mine_.insert(state.key).second) {
            out.counts.merged++;
            close(false); // from here on everything is as it was when this state was first reached
            return;
        }
    }
    at_step_ = case_.count;
    close(true);
    if (violation_) {
        failed(out);
        state.fails = true;
    }
    out.states.push_back(state);
}

void Walker::expand(std::span<const uint64_t> path, uint32_t parent, const StateKey& key, const KnownStates* known,
                    Reached& out)
{
    const auto died = [&](const Deadly& d) {
        out.counts.cases++;
        out.by_op[d.failure.value.steps[d.failure.value.count - 1].op]++;
        out.counts.violations++;
        out.add(d.failure);
    };
    at_.node = parent;
    at_.code = AtWork::on_the_way;
    if (deadly(parent, AtWork::on_the_way)) {
        out.strayed++;
        return;
    }
    if (!follow(path, out) || (known && !(state_key(*run_, session_) == key))) { // the same moves have led here before
        out.strayed++;
        run_.reset();
        if (session_.is_open())
            session_.close();
        return;
    }
    const auto before = limits_.check_refused ? state_key(*run_, session_) : std::nullopt;
    bool there = true;
    Choices choices;
    do {
        Move m;
        if (!moves_.propose(choices, situation_, m))
            continue;
        const uint64_t code = choices.code(), ways = choices.ways();
        if (const Deadly* d = deadly(parent, code)) {
            died(*d);
            continue;
        }
        at_.code = AtWork::on_the_way;
        if (!there)
            again(out);
        there = true;
        if (m.line_only) {
            const uint64_t at = situation_.lines()[m.line].at;
            if (!session_.machine().cache().line_dirty(at) && !session_.machine().cache().line_stale(at))
                continue; // nothing would change
        }
        chances_.clear();
        at_.code = code;
        session_.probe = scope_.adversary ? this : nullptr;
        const Ran ran = make(m);
        session_.probe = nullptr;
        if (ran == Ran::refused) {
            out.counts.refused++;
            if (limits_.check_refused && !(state_key(*run_, session_) == before))
                out.refused_with_effect++;
            continue;
        }
        out.counts.evictions += m.line_only;
        if (scope_.adversary && !m.line_only)
            for (unsigned n = 1; n <= session_.machine().fallible_calls(); n++)
                chances_.push_back({Adversary::fail, n, 0});
        judge(ran, code, parent, known, out);
        there = false;
        const std::vector<Adversary> chances = chances_;
        for (const Adversary& a : chances) {
            Move armed = m;
            moves_.arm(a, situation_, armed);
            if (const Deadly* d = deadly(parent, code + ways * a.code())) {
                (a.kind == Adversary::fail ? out.counts.faults : out.counts.evictions)++;
                died(*d);
                continue;
            }
            at_.code = AtWork::on_the_way;
            again(out);
            at_.code = code + ways * a.code();
            const Ran with = make(armed);
            if (with == Ran::refused) { // not expected: without the adversary it was carried out
                out.counts.refused++;
                close(false);
                continue;
            }
            (a.kind == Adversary::fail ? out.counts.faults : out.counts.evictions)++;
            judge(with, code + ways * a.code(), parent, known, out);
        }
    } while (choices.next());
    if (there)
        close(false);
}

} // namespace dmaudit
