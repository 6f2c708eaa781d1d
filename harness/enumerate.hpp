// Turns ordinary code into an enumeration: code that asks choose(n) wherever it could go several ways is called again
// and again, and each time goes another way, until it has gone all of them. The order is that of the choices, the last
// one changing fastest, and depends on nothing else.
#pragma once
#include <array>
#include <cstdint>
#include <cstdlib>

namespace dmaudit {

class Choices {
  public:
    // All ways, the first one first.
    Choices() = default;
    // The one way that had this code.
    static Choices at(uint64_t code)
    {
        Choices e;
        e.replay_ = true;
        e.code_ = code;
        return e;
    }

    // A number below n; n is not 0. The same choices before it give the same n.
    uint64_t choose(uint64_t n)
    {
        if (replay_) {
            const uint64_t c = code_ % n;
            code_ /= n;
            return c;
        }
        if (cursor_ == used_) {
            if (used_ == most)
                std::abort(); // a limit of the program, not of its input
            made_[used_++] = {0, n};
        }
        return made_[cursor_++].value;
    }

    // The next way; false: there is none.
    bool next()
    {
        used_ = cursor_; // choices that were made in an earlier way and not in this one
        while (used_ && made_[used_ - 1].value + 1 == made_[used_ - 1].bound)
            used_--;
        cursor_ = 0;
        if (!used_)
            return false;
        made_[used_ - 1].value++;
        return true;
    }

    // The way as one number: mixed radix, the first choice is the lowest digit. at(code() + k * ways()) makes the same
    // choices and leaves k in rest().
    uint64_t code() const
    {
        uint64_t code = 0;
        for (unsigned i = cursor_; i-- > 0;)
            code = code * made_[i].bound + made_[i].value;
        return code;
    }
    uint64_t ways() const // the product of the bounds
    {
        uint64_t n = 1;
        for (unsigned i = 0; i < cursor_; i++)
            if (__builtin_mul_overflow(n, made_[i].bound, &n))
                std::abort();
        return n;
    }
    uint64_t rest() const { return code_; }

  private:
    static constexpr unsigned most = 16;
    struct Choice {
        uint64_t value, bound;
    };
    std::array<Choice, most> made_{};
    unsigned used_ = 0, cursor_ = 0;
    bool replay_ = false;
    uint64_t code_ = 0;
};

} // namespace dmaudit
