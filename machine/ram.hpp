// RAM: one memory, mapped twice. Machine and provider use the *door*, clients the *client* alias. The aliases have
// AddressSanitizer shadows of their own, so bytes that a client may not touch can be poisoned without disturbing
// anybody else.
#pragma once
#include <cstdint>

namespace dmaudit {

class Ram {
  public:
    static constexpr uint64_t capacity = 8ull << 20; // bytes

    Ram();
    ~Ram();
    Ram(const Ram&) = delete;
    Ram& operator=(const Ram&) = delete;

    uint8_t* door() const { return door_; }
    uint8_t* client() const { return client_; }

    // Bytes that RAM holds before anybody writes: never zero, never a value of fill() or scribble(), and the same in
    // every page, so that a page is restored from a table in the first-level cache.
    static const uint8_t* initial_page(); // 4096 bytes
    // What the auditor writes over a block before its free: bytes that nobody else ever writes.
    static uint8_t scribble(uint64_t offset)
    {
        const auto mixed = static_cast<uint32_t>(offset) * 0x9e3779b1u;
        return static_cast<uint8_t>(0xc0u | (mixed >> 26));
    }

  private:
    int fd_ = -1;
    uint8_t* door_ = nullptr;
    uint8_t* client_ = nullptr;
};

} // namespace dmaudit
