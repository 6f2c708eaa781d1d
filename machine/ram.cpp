#include "machine/ram.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

namespace dmaudit {
namespace {

[[noreturn]] void fail(const char* what)
{
    std::perror(what);
    std::abort();
}

constexpr std::array<uint8_t, 4096> make_initial()
{
    std::array<uint8_t, 4096> page{};
    for (unsigned i = 0; i < page.size(); i++)
        page[i] = static_cast<uint8_t>(0x80u | ((i * 2654435761u) >> 26));
    return page;
}
constexpr auto initial = make_initial();

} // namespace

const uint8_t* Ram::initial_page()
{
    return initial.data();
}

Ram::Ram()
{
    fd_ = memfd_create("dmaudit-ram", MFD_CLOEXEC);
    if (fd_ < 0 || ftruncate(fd_, capacity) != 0)
        fail("dmaudit: cannot create simulated RAM");
    const auto map = [this] {
        void* p = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
        if (p == MAP_FAILED)
            fail("dmaudit: cannot map simulated RAM");
        // A child process makes a world of its own; what it inherits it could only damage, as the memory is shared.
        madvise(p, capacity, MADV_DONTFORK);
        return static_cast<uint8_t*>(p);
    };
    door_ = map();
    client_ = map();
}

Ram::~Ram()
{
    munmap(door_, capacity);
    munmap(client_, capacity);
    close(fd_);
}

} // namespace dmaudit
