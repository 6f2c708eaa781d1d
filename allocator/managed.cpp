#include "allocator/managed.hpp"

#include "allocator/managed_nodes.hpp"

#include <new>
#include <type_traits>

#include "allocator/allocator.hpp"

namespace dmaudit::alloc {
namespace {

// All that names a block, but for `granted`, which follows from the rest.
bool same(const Block& a, const Block& b)
{
    return a.block == b.block && a.pooled == b.pooled && a.handle == b.handle && a.serial == b.serial;
}

} // namespace

struct Managed::Ticket {
    MetaMemory memory;
    std::uint64_t binding;
    Node& node() const noexcept { return *static_cast<Node*>(memory.get()); }
};

Managed::~Managed()
{
    static_assert(std::is_trivially_destructible_v<Node> && std::is_trivially_destructible_v<Binding>);
    while (Binding* binding = first_) {
        first_ = binding->next;
        while (Node* node = binding->latest) {
            binding->latest = node->older;
            platform_.meta_free(node);
        }
        platform_.meta_free(binding);
    }
}

// The lock is held.
Managed::Binding* Managed::find(std::uint32_t device) noexcept
{
    for (Binding* binding = first_; binding != nullptr; binding = binding->next)
        if (binding->device == device)
            return binding;
    return nullptr;
}

Status Managed::bind(std::uint32_t device) noexcept
{
    if (!platform_.device(device))
        return DmaError::NoSuchDevice;
    MetaMemory memory = meta_memory(platform_, sizeof(Binding));
    const Guard guard(platform_, lock_);
    if (find(device) != nullptr)
        return DmaError::Busy;
    if (memory == nullptr)
        return DmaError::NoMemory;
    first_ = ::new (memory.release()) Binding{first_, device, false, ++serial_, nullptr};
    return {};
}

Status Managed::unbind(std::uint32_t device) noexcept
{
    Node* nodes;
    {
        const Guard guard(platform_, lock_);
        Binding* binding = find(device);
        if (binding == nullptr || binding->ending)
            return DmaError::NoSuchDevice;
        binding->ending = true;
        nodes = cut(*binding, nullptr);
    }
    const Status status = release_all(nodes);
    Binding* gone;
    {
        const Guard guard(platform_, lock_);
        Binding** link = &first_;
        while ((*link)->device != device)
            link = &(*link)->next;
        gone = *link;
        *link = gone->next;
    }
    platform_.meta_free(gone);
    return status;
}

// A node for a resource that is about to be taken. NoSuchDevice, NoMemory.
Result<Managed::Ticket> Managed::admit(std::uint32_t device) noexcept
{
    std::uint64_t serial;
    {
        const Guard guard(platform_, lock_);
        const Binding* binding = find(device);
        if (binding == nullptr || binding->ending)
            return DmaError::NoSuchDevice;
        serial = binding->serial;
    }
    MetaMemory memory = meta_memory(platform_, sizeof(Node));
    if (memory == nullptr)
        return DmaError::NoMemory;
    ::new (memory.get()) Node{};
    Ticket ticket{std::move(memory), serial};
    ticket.node().device = device;
    return ticket;
}

// The resource is taken and its node filled. If the driver went in the meantime, the resource goes with it.
Status Managed::enter(Ticket& ticket) noexcept
{
    {
        const Guard guard(platform_, lock_);
        Binding* binding = find(ticket.node().device);
        if (binding != nullptr && !binding->ending && binding->serial == ticket.binding) {
            ticket.node().older = binding->latest;
            binding->latest = &ticket.node();
            static_cast<void>(ticket.memory.release());
            return {};
        }
    }
    // An action or a group has done nothing yet that would have to be undone.
    if (ticket.node().kind != Node::Kind::Action)
        static_cast<void>(release(ticket.node()));
    return DmaError::NoSuchDevice;
}

// Takes the nodes down to `end` (which stays; null: all) out of the binding, in order. Those that are claimed are left
// to their claimers. The lock is held.
Managed::Node* Managed::cut(Binding& binding, const Node* end) noexcept
{
    Node* first = nullptr;
    Node** tail = &first;
    while (binding.latest != end) {
        Node* node = binding.latest;
        binding.latest = node->older;
        if (node->claimed) {
            node->orphaned = true;
        } else {
            *tail = node;
            tail = &node->older;
        }
    }
    *tail = nullptr;
    return first;
}

// Nobody else knows these nodes any more. No lock is held.
Status Managed::release_all(Node* first) noexcept
{
    Status answer;
    while (Node* node = first) {
        first = node->older;
        if (const Status status = release(*node); !status && answer)
            answer = status;
        platform_.meta_free(node);
    }
    return answer;
}

Status Managed::release(const Node& node) noexcept
{
    switch (node.kind) {
    case Node::Kind::Coherent:
        return allocator_.free_coherent(node.block);
    case Node::Kind::Noncoherent:
        return allocator_.free_noncoherent(node.block, node.direction);
    case Node::Kind::Declared:
        return allocator_.release_coherent_memory(node.device);
    case Node::Kind::Action:
        node.action(node.data);
        return {};
    case Node::Kind::Group:
        return {};
    }
    return {};
}

// Gives the latest resource that matches back. It is claimed first, so that nobody finds it while it goes, and drops
// out of the list, or into its old place if it could not be given back.
template <class Matches> Status Managed::give_back(std::uint32_t device, DmaError missing, Matches&& matches) noexcept
{
    Node* node = nullptr;
    {
        const Guard guard(platform_, lock_);
        if (const Binding* binding = find(device); binding != nullptr)
            for (node = binding->latest; node != nullptr && (node->claimed || !matches(*node)); node = node->older) {
            }
        if (node == nullptr)
            return missing;
        node->claimed = true;
    }
    const Status status = release(*node);
    {
        const Guard guard(platform_, lock_);
        if (!node->orphaned) {
            if (!status) {
                node->claimed = false;
                return status;
            }
            Node** link = &find(device)->latest;
            while (*link != node)
                link = &(*link)->older;
            *link = node->older;
        }
    }
    platform_.meta_free(node);
    return status;
}

Result<Block> Managed::alloc(const dmaudit_request& request) noexcept
{
    Result<Ticket> ticket = admit(request.device);
    if (!ticket)
        return ticket.error();
    const Result<Block> block = allocator_.alloc_coherent(request);
    if (!block)
        return block.error();
    ticket->node().kind = Node::Kind::Coherent;
    ticket->node().block = *block;
    const Status status = enter(*ticket);
    return status ? block : Result<Block>(status.error());
}

Status Managed::free(const Block& block) noexcept
{
    return give_back(block.block.device, DmaError::IllegalCall,
                     [&](const Node& node) { return node.kind == Node::Kind::Coherent && same(node.block, block); });
}

Result<Block> Managed::alloc_noncoherent(const dmaudit_request& request, Direction direction) noexcept
{
    Result<Ticket> ticket = admit(request.device);
    if (!ticket)
        return ticket.error();
    const Result<Block> block = allocator_.alloc_noncoherent(request, direction);
    if (!block)
        return block.error();
    ticket->node().kind = Node::Kind::Noncoherent;
    ticket->node().block = *block;
    ticket->node().direction = direction;
    const Status status = enter(*ticket);
    return status ? block : Result<Block>(status.error());
}

Status Managed::free_noncoherent(const Block& block, Direction direction) noexcept
{
    return give_back(block.block.device, DmaError::IllegalCall, [&](const Node& node) {
        return node.kind == Node::Kind::Noncoherent && node.direction == direction && same(node.block, block);
    });
}

Status Managed::declare_coherent_memory(std::uint32_t device, PhysAddr phys, DmaAddr bus, std::uint64_t size,
                                        bool exclusive) noexcept
{
    Result<Ticket> ticket = admit(device);
    if (!ticket)
        return ticket.error();
    if (const Status status = allocator_.declare_coherent_memory(device, phys, bus, size, exclusive); !status)
        return status;
    ticket->node().kind = Node::Kind::Declared;
    return enter(*ticket);
}

Status Managed::release_declared_memory(std::uint32_t device) noexcept
{
    return give_back(device, DmaError::NoSuchDevice,
                     [](const Node& node) { return node.kind == Node::Kind::Declared; });
}

Status Managed::add_action(std::uint32_t device, Action action, void* data) noexcept
{
    if (action == nullptr)
        return DmaError::NullPointer;
    Result<Ticket> ticket = admit(device);
    if (!ticket)
        return ticket.error();
    ticket->node().kind = Node::Kind::Action;
    ticket->node().action = action;
    ticket->node().data = data;
    return enter(*ticket);
}

Status Managed::open_group(std::uint32_t device, std::uint64_t id) noexcept
{
    Result<Ticket> ticket = admit(device);
    if (!ticket)
        return ticket.error();
    ticket->node().kind = Node::Kind::Group;
    ticket->node().id = id;
    return enter(*ticket);
}

Status Managed::release_group(std::uint32_t device, std::uint64_t id) noexcept
{
    Node* nodes;
    {
        const Guard guard(platform_, lock_);
        Binding* binding = find(device);
        if (binding == nullptr || binding->ending)
            return DmaError::NoSuchDevice;
        const Node* group = binding->latest;
        while (group != nullptr && !(group->kind == Node::Kind::Group && group->id == id))
            group = group->older;
        if (group == nullptr)
            return DmaError::BadArgument;
        nodes = cut(*binding, group->older);
    }
    return release_all(nodes);
}

} // namespace dmaudit::alloc
