// What is managed (Linux' devres), as the auditor keeps it: which devices have a driver, and what each of them has
// taken, in order. One list for all devices, oldest first; nothing here allocates after construction.
#pragma once
#include "shadow/registry.hpp"

#include <span>

namespace dmaudit {

class Auditor;

struct Resource {
    enum class Kind : uint8_t { block, noncoherent, pool, action, group } kind;
    uint8_t device;
    bool uncached;  // its pages became uncached when it was taken: they are cached again when it is gone
    bool late;      // seen alive when its turn was over
    Tag tag;        // of a block or pool
    uint32_t which; // of an action: its number
    uint64_t id;    // of a group
};

// An action that the provider was given: its `data`.
struct ActionRecord {
    Auditor* auditor;
    uint32_t runs;
    bool managed; // add_action succeeded; it stays so after the release
};

class Ledger {
  public:
    static constexpr uint32_t capacity = 1024;
    Ledger() : resources_(new Resource[capacity]), actions_(new ActionRecord[capacity]) {}

    bool bound(uint32_t device) const { return device < bound_.size() && bound_[device]; }
    void bind(uint32_t device, bool on) { bound_[device] = on; }

    uint32_t count() const { return n_; }
    Resource& operator[](uint32_t i) { return resources_[i]; }
    const Resource& operator[](uint32_t i) const { return resources_[i]; }
    bool add(const Resource& r) // false: no room
    {
        if (n_ == capacity)
            return false;
        resources_[n_++] = r;
        return true;
    }
    template <class Pred> void remove_if(uint32_t from, Pred gone)
    {
        uint32_t kept = from;
        for (uint32_t i = from; i < n_; i++)
            if (!gone(resources_[i]))
                resources_[kept++] = resources_[i];
        n_ = kept;
    }
    void forget(Tag tag)
    {
        remove_if(0, [tag](const Resource& r) { return r.tag == tag && tag; });
    }
    // Position of the n-th youngest open group (0: the last), or count().
    uint32_t group(uint32_t device, uint64_t nth) const
    {
        for (uint32_t i = n_; i-- > 0;)
            if (resources_[i].kind == Resource::Kind::group && resources_[i].device == device && nth-- == 0)
                return i;
        return n_;
    }

    // Is a group of this name open on the device?
    bool open(uint32_t device, uint64_t id) const
    {
        for (uint32_t i = 0; i < n_; i++)
            if (resources_[i].kind == Resource::Kind::group && resources_[i].device == device && resources_[i].id == id)
                return true;
        return false;
    }

    ActionRecord* new_action(Auditor& a) // null: no room
    {
        if (n_actions_ == capacity)
            return nullptr;
        actions_[n_actions_] = {&a, 0, false};
        return &actions_[n_actions_++];
    }
    ActionRecord& action(uint32_t i) { return actions_[i]; }
    const ActionRecord& action(uint32_t i) const { return actions_[i]; }
    uint32_t number(const ActionRecord& a) const { return static_cast<uint32_t>(&a - actions_.get()); }

    uint64_t next_id = 1; // of a group

    void clear()
    {
        n_ = n_actions_ = 0;
        bound_ = {};
        next_id = 1;
    }

  private:
    std::unique_ptr<Resource[]> resources_;
    std::unique_ptr<ActionRecord[]> actions_;
    uint32_t n_ = 0, n_actions_ = 0;
    std::array<bool, 8> bound_{}; // by device
};

} // namespace dmaudit
