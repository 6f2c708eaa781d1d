// A small specification of conservation: what was given back can be had again.
#pragma once
#include "harness/session.hpp"

#include <algorithm>

namespace dmaudit {

// What a provider has for a device when nothing is taken. Measured by taking it; all of it is given back.
struct Capacity {
    // Bytes of coherent memory: the largest block that is left, again and again. Where there is none, lines of the client's
    // that can be mapped at a time, if that takes bounce slots or addresses of an IOMMU (to count both would cost a third
    // of the executions per second).
    uint64_t bytes = 0, mappings = 0;
    bool less_than(const Capacity& o) const { return bytes < o.bytes || mappings < o.mappings; }
    Capacity common(const Capacity& o) const { return {std::min(bytes, o.bytes), std::min(mappings, o.mappings)}; }
};
Capacity capacity(Session&, uint32_t device);

// The first requests of a case that succeeded: when everything is given back they must succeed again.
class FirstRequests {
  public:
    void at_step(int step) { step_ = step; } // which makes the requests that follow
    void coherent(const dmaudit_request&, Tag pool, const Auditor&);
    void from_pool(Tag pool, uint64_t size);
    // One that took a bounce slot, or device addresses of an IOMMU.
    void mapping(const dmaudit_request&, uint64_t at, uint32_t direction, bool bounced, uint64_t min_align_mask);
    void noncoherent(const dmaudit_request&, uint32_t direction, Auditor::Via);
    void repeat(Session&) const;

  private:
    friend class StateWriter;
    int step_ = -1;
    struct {
        dmaudit_request req;
        Tag pool;
        bool known;
        int step;
    } coherent_{};
    struct {
        Tag pool;
        uint64_t size;
        bool known;
        int step;
    } pool_{};
    struct {
        dmaudit_request req;
        uint64_t at;
        uint64_t min_align_mask;
        uint32_t direction;
        bool bounced, known;
        int step;
    } mapping_{};
    struct {
        dmaudit_request req;
        uint32_t direction;
        Auditor::Via via;
        bool known;
        int step;
    } noncoherent_{};
};

} // namespace dmaudit
