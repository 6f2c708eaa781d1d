// The generator from the inside: generate.cpp chooses worlds and ops, step by step, generate_arguments.cpp what each is
// about; generate_idioms.cpp and generate_protocols.cpp put whole sequences behind what is there, which single choices
// hardly ever make.
#pragma once
#include "harness/generate.hpp"
#include "harness/generate_phases.hpp"
#include "harness/rng.hpp"

namespace dmaudit {

class Generator {
  public:
    Generator(uint64_t seed, const Profile& profile, Case& out, unsigned steps)
        : rng_(seed), profile_(profile), out_(out), steps_(steps ? std::min(steps, max_steps) : rng_.chance(1, 8) ? 96 : 32), scope_(make_world()),
          phases_(scope_)
    {
    }

    void run();

  private:
    Rng rng_;
    const Profile& profile_;
    Case& out_;
    unsigned steps_;
    bool large_ = false; // the world; make_world() sets it, so it stands before the scope
    Scope scope_;
    Phases phases_;
    std::array<uint32_t, op_count> weights_{};
    uint32_t total_ = 0;
    bool crowded_ = false; // buffers lie side by side, in one line too
    bool loyal_ = false;   // stays with the same memory whenever it can
    bool skips_ = false;   // mappings leave the cache alone
    uint64_t faulty_ = 0;  // one call of so many is to fail
    uint64_t restless_ = 0; // inside of one call of so many, lines of what it is about come and go
    uint64_t focus_ = 0;   // name of the oldest ancestor of the object used last
    std::array<uint16_t, max_steps> made_at_; // index of an object -> that of the step that made it

    // ---- generate.cpp ----
    const World& make_world();
    void weigh();
    void step(bool war);
    void put(const Step&);
    void disturb_inside(const Step&);
    bool full() const { return out_.count >= steps_; }

    uint8_t choose_any();
    uint8_t choose();
    uint8_t choose_next();
    bool after_fault() const;
    static bool can_fail(uint8_t op);
    uint8_t choose_maker();
    uint8_t first_op() const;
    uint8_t with_object(uint8_t op);

    // ---- generate_arguments.cpp ----
    // A step in the making.
    struct Draft {
        // Which bytes of the object: up to in_last any, by the tables; then some of those used last, bytes before or
        // behind them, the very same; the whole object.
        enum Mode : unsigned { in_last = 2, before_last = 4, last = 6, whole_too = 11, whole = 15 };
        Step step;
        const Known* used = nullptr; // the object it is about
        unsigned mode = 0;
        Interval range;    // by the mode
        bool err = false;  // arguments may be a mistake
        bool picky = true; // objects are of the right kind
    };
    Step propose(uint8_t op, bool err);
    uint64_t argument(Draft&, size_t field);
    uint64_t pick(Draft&, size_t field);
    bool fill(Step&);
    bool test(Step&);
    void odd_number(Step&);

    uint64_t root(uint64_t name) const;
    const Known* object(uint8_t kinds, bool dead);
    uint64_t all_of(uint8_t op, const Known* used);
    uint64_t many(uint8_t op, const Known* used);
    uint64_t just_room(uint64_t device);
    uint64_t free_page(uint64_t pages);
    void whole_pages(Step&);
    Interval next_to_last_range(const Known&, bool before);
    Interval in_last_range(const Known&);

    // ---- generate_idioms.cpp ----
    void idiom();
    void one_idiom();
    void churn();
    void exhaust();
    void succeed();
    void sweep();
    void repeat();
    void loop();
    void fail_kin(uint8_t op, uint64_t nth);
    void measure();
    void storm();
    void protocol(); // generate_protocols.cpp
    bool err_in_release();

    bool attempt(uint8_t op);
    bool attempt_with_objects(uint8_t op);
    std::optional<Step> ending(const Known&, bool whatever_it_is = false);
    Step again(const Known&);
    void like_before(Step&); // the same step as one before, for another object
    bool end(size_t object);
};

} // namespace dmaudit
