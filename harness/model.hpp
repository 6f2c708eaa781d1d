// A small specification of conservation: what was given back can be had again.
#pragma once
#include "harness/session.hpp"

namespace dmaudit {

// Bytes of coherent memory that the provider has for the device: the largest block that is left, again and again. Nothing
// is left allocated.
uint64_t capacity(Session&, uint32_t device);

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
