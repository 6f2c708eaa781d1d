#include "harness/child.hpp"

#include <algorithm>
#include <csignal>
#include <new>
#include <sys/mman.h>
#include <sys/wait.h>
#include <type_traits>
#include <unistd.h>

namespace dmaudit {

// Plain values only: the child dies without destructors, and the parent reads what it left.
struct Child::Board {
    enum Place : uint32_t { nowhere, before, stepping, done };
    volatile uint64_t moves; // cases, steps and platform calls
    volatile Place place;
    volatile uint32_t cases;     // that have ended
    volatile uint16_t step;      // of the running one; its count: open, close, or everything is given back
    volatile bool stuck;         // it was the child that said so: too many platform calls
    volatile bool has_violation; // found before the provider was closed, which may kill
    Violation violation;
    Result result;
    Tally tally;
    std::array<uint64_t, rule_count> known;
};

// What a case does, and what it may do.
struct Child::Counter : Session::Probe {
    Counter(Board& b, uint64_t most) : board(b), calls_left(most) {}
    void moved() { board.moves = board.moves + 1; }
    void platform_call() override
    {
        moved();
        if (calls_left-- == 0) {
            board.stuck = true;
            _exit(0);
        }
    }
    Board& board;
    uint64_t calls_left;
};

namespace {

static_assert(std::is_trivially_copyable_v<Result> && std::is_trivially_copyable_v<Tally>);

const char* how_it_died(int status)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status) == ended_itself ? "the process was ended by a call of exit"
                                                   : "the process was ended, by a sanitizer or a call of _exit";
    switch (WTERMSIG(status)) {
    case SIGSEGV:
        return "the process died of SIGSEGV, an access to memory that is not there";
    case SIGBUS:
        return "the process died of SIGBUS";
    case SIGABRT:
        return "the process died of SIGABRT, as abort and failed assertions send it";
    case SIGFPE:
        return "the process died of SIGFPE, a division by zero";
    case SIGILL:
        return "the process died of SIGILL, an instruction that is not one";
    case SIGTRAP:
        return "the process died of SIGTRAP, as sanitizers and assertions send it";
    default:
        return "the process died of a signal";
    }
}

} // namespace

bool Child::needed(const dmaudit_provider& p)
{
    return (p.promises & (DMAUDIT_TRAIT_PROCESS_WIDE | DMAUDIT_TRAIT_MAY_ABORT)) != 0;
}

Child::Child(const dmaudit_provider& provider, const ChildLimits& limits) : provider_(provider), limits_(limits)
{
    board_ = new (shared_memory(sizeof(Board))) Board{};
}

Child::~Child()
{
    munmap(board_, sizeof(Board));
}

// `work` in a child, which comes to its end or is ended when nothing moves.
Ended Child::forked(const std::function<void(int)>& work, const std::function<void(std::string_view)>& said)
{
    board_ = new (board_) Board{};
    Standstill standstill;
    return run_forked({std::max(1u, limits_.wall_ms / Standstill::looks), limits_.quiet}, work, said,
                      [&] { return !standstill.look(board_->moves); });
}

Child::Ran Child::run_many(const std::function<const Case&(unsigned)>& make, unsigned n, Tally* tally,
                           const Known& known)
{
    if (provider_.promises & DMAUDIT_TRAIT_PROCESS_WIDE)
        n = 1;
    const Ended ended = forked(
        [&](int) {
            struct Diary final : StepTrace, Counter {
                using Counter::Counter;
                void step(unsigned i) override
                {
                    moved();
                    board.step = static_cast<uint16_t>(i);
                    board.place = Board::stepping;
                    board.has_violation = false; // a mistake after which the case went on to its end
                }
                void stopped(Session& s) override
                {
                    board.violation = *s.violation();
                    board.has_violation = true;
                }
                void applied(Event, Range) override {}
            };
            Session session; // after the fork: this world is the child's own
            end_at_standstill(board_->moves, limits_.cpu_ms);
            for (unsigned i = 0; i < n; i++) {
                const Case& c = make(i);
                Diary diary(*board_, limits_.platform_calls);
                session.probe = &diary;
                board_->step = c.count;
                board_->has_violation = false;
                diary.moved();
                board_->place = Board::before;
                board_->result = execute(c, provider_, session, &board_->tally, nullptr, &diary);
                board_->place = Board::done;
                board_->cases = i + 1;
                const auto& v = board_->result.violation;
                if (v && known && known(c, board_->result))
                    board_->known[static_cast<size_t>(v->rule)]++, board_->result.violation.reset();
                else if (v || board_->result.open_error)
                    break;
            }
        },
        [](std::string_view) {});
    if (tally)
        tally->add(board_->tally);
    if (board_->place == Board::done && board_->cases > 0 && !board_->stuck && WIFEXITED(ended.status) &&
        WEXITSTATUS(ended.status) == 0)
        return {board_->result, board_->cases, board_->known};
    Ran ran{{}, board_->cases + 1, board_->known};
    ran.result.step = board_->step;
    if (board_->has_violation) { // closing the provider killed; what came before counts
        ran.result.violation = board_->violation;
        return ran;
    }
    Violation v;
    const bool hung = WIFSIGNALED(ended.status) && WTERMSIG(ended.status) == SIGPROF;
    v.rule = board_->stuck || hung || ended.stopped ? RuleId::no_progress : RuleId::provider_crash;
    v.what = board_->stuck   ? "a case made more platform calls than the limit allows"
             : ended.stopped ? "the process did nothing in the time that the limit allows"
             : hung          ? "the process used all the processor time that the limit allows, and did nothing"
                             : how_it_died(ended.status);
    ran.result.violation = v;
    return ran;
}

Result Child::run(const Case& c, Tally* tally)
{
    return run_many([&](unsigned) -> const Case& { return c; }, 1, tally).result;
}

std::string Child::report(const Case& c, const Result& r, const ReportOptions& options)
{
    const RuleId broken = r.violation ? r.violation->rule : RuleId::none;
    const bool survived = broken != RuleId::provider_crash && broken != RuleId::no_progress;
    // Once more without the history if the replay kills the child.
    for (const bool history : {survived, false}) {
        std::string said;
        const Ended ended = forked(
            [&](int to) {
                Session session;
                end_at_standstill(board_->moves, limits_.cpu_ms);
                Counter counter(*board_, limits_.platform_calls);
                session.probe = &counter;
                ReportOptions o = options;
                o.history = o.history && history;
                write_all(to, dmaudit::report(c, r, provider_, session, o));
            },
            [&](std::string_view part) { said += part; });
        if (!ended.stopped && WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == 0 && !said.empty())
            return said;
    }
    return key_lines(key_of(c, r));
}

} // namespace dmaudit
