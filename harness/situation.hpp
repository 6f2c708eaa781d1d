// What is alive at one point of a case while it runs: all that the choice of the next move depends on.
#pragma once
#include "harness/run.hpp"

#include <array>
#include <vector>

namespace dmaudit {

class Situation {
  public:
    struct Object {
        uint64_t name, length; // bytes
    };
    // Bytes of one cache line that a step can name.
    struct Line {
        uint64_t object, off, len;
        uint64_t at; // of the line, offset into RAM
    };

    // Looks at the run; `defined`: how many names of each kind its steps have defined.
    void look(const Run&, const std::array<uint8_t, obj_kinds>& defined);

    // Alive, of these kinds; in the order of kinds and names.
    std::span<const Object> objects() const { return objects_; }
    unsigned count(uint8_t kinds) const;
    const Object& object(uint8_t kinds, uint64_t n) const; // precondition: n < count(kinds)
    unsigned number(Obj kind) const { return defined_[static_cast<size_t>(obj_index(kind))]; } // of the next name
    unsigned descriptors() const { return descriptors_; }
    // Of a long object the first two and the last; none where every device is coherent.
    std::span<const Line> lines() const { return lines_; }

  private:
    void add_lines(uint64_t name, Range, uint64_t line);
    std::vector<Object> objects_;
    std::vector<Line> lines_;
    std::array<uint8_t, obj_kinds> defined_{};
    unsigned descriptors_ = 0;
};

} // namespace dmaudit
