// Managed DMA, Linux' devres: what a driver takes while it is bound to a device is given back when it is unbound (or
// its probe fails), last taken first, over all kinds of resources.
//
// Each resource has a node. It is allocated before the resource is taken, so a failure of either leaves nothing. A free
// takes the node out of reach before it frees the memory: nobody finds the node of memory that may already be somebody
// else's. A block that has no node is refused with IllegalCall and not freed. Memory is freed with the size, address
// and attributes that were recorded, whatever the caller says now.
//
// Groups nest. Releasing one releases all that was taken since it was opened, the groups inside it included.
//
// A release that fails (pages that cannot be made cached again, a block whose pool is gone) does not stop the others;
// the first error is the answer. That resource is no longer managed then: memory that is still alive can be given back
// with the unmanaged call.
//
// While actions run the device counts as bound (bind answers Busy) but takes nothing new (NoSuchDevice). Thread safe:
// one lock, held for bookkeeping only, never over an action, an allocation or a free.
#pragma once

#include "allocator/platform.hpp"
#include "allocator/result.hpp"
#include "allocator/streaming.hpp"

namespace dmaudit::alloc {

class Allocator;
struct Block;

class Managed {
  public:
    using Action = void (*)(void* data);

    // What is taken and given back are the allocator's blocks and pools.
    Managed(const Platform& platform, Allocator& allocator) noexcept : platform_(platform), allocator_(allocator) {}
    ~Managed(); // forgets every node; no action is called, and what is still alive is the allocator's to end
    Managed(const Managed&) = delete;
    Managed& operator=(const Managed&) = delete;

    // The driver comes. Errors: NoSuchDevice, Busy (bound), NoMemory.
    Status bind(std::uint32_t device) noexcept;
    // The driver goes, or its probe failed: devres_release_all, last taken first. Mappings, attachments and windows of
    // the device are the client's, who ends them before; here nobody looks. NoSuchDevice: not bound. Else the first
    // error of a release; the device is unbound all the same.
    Status unbind(std::uint32_t device) noexcept;

    // dmam_alloc_attrs, dmam_alloc_coherent. NoSuchDevice: not bound. NoMemory: no node, or no memory. Else as
    // Allocator::alloc_coherent.
    Result<Block> alloc(const dmaudit_request& request) noexcept;
    // dmam_free_coherent. IllegalCall: not a managed block, or freed already. Else as Allocator::free_coherent; the
    // block is managed still.
    Status free(const Block& block) noexcept;

    // dmam_alloc_noncoherent, dmam_free_noncoherent. The direction has to be the same in both.
    Result<Block> alloc_noncoherent(const dmaudit_request& request, Direction direction) noexcept;
    Status free_noncoherent(const Block& block, Direction direction) noexcept;

    // dmam_declare_coherent_memory. Errors: NoSuchDevice (not bound), NoMemory, and as the unmanaged call.
    Status declare_coherent_memory(std::uint32_t device, PhysAddr phys, DmaAddr bus, std::uint64_t size,
                                   bool exclusive) noexcept;
    // dmam_release_declared_memory: the pool goes, not only its node. NoSuchDevice: not bound, or nothing declared by
    // the managed call.
    Status release_declared_memory(std::uint32_t device) noexcept;

    // devm_add_action: action(data) is called when its turn comes, on the thread that releases, and may call anything
    // here. Errors: NullPointer, NoSuchDevice, NoMemory.
    Status add_action(std::uint32_t device, Action action, void* data) noexcept;

    // devres_open_group. Names may repeat; the latest counts. Errors: NoSuchDevice, NoMemory.
    Status open_group(std::uint32_t device, std::uint64_t id) noexcept;
    // devres_release_group. NoSuchDevice: not bound. BadArgument: no such group. Else as unbind.
    Status release_group(std::uint32_t device, std::uint64_t id) noexcept;

    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;

  private:
    struct Node;
    struct Binding;
    struct Ticket; // a node without a resource yet, and the binding it is for

    Binding* find(std::uint32_t device) noexcept;
    Result<Ticket> admit(std::uint32_t device) noexcept;
    Status enter(Ticket& ticket) noexcept;
    Node* cut(Binding& binding, const Node* end) noexcept;
    Status release_all(Node* first) noexcept;
    Status release(const Node& node) noexcept;
    template <class Matches> Status give_back(std::uint32_t device, DmaError missing, Matches&& matches) noexcept;

    Platform platform_;
    Allocator& allocator_;
    Binding* first_ = nullptr;
    std::uint64_t serial_ = 0;
    std::uint64_t lock_ = 0;
};

} // namespace dmaudit::alloc
