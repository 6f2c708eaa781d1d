// What a call of the allocator answers: a value or a DmaError, and the one place where errors become DMAUDIT_* codes.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>

#include "dmaudit/provider.h"

namespace dmaudit::alloc {

// The first six are the errors of DmaOp; the rest are what the Linux calls can answer beyond them.
enum class DmaError : std::uint8_t {
    NoMemory,        // no memory, no pool room, no bounce slot, no metadata
    LayoutError,     // alignment or boundary is no power of two, or the size cannot fit the boundary
    DmaMaskNotMatch, // the only addresses left are beyond the limit
    AlignMismatch,   // the alignment cannot be had
    NullPointer,
    ZeroSizedBuffer,
    BadArgument, // anything else that is malformed: direction, range outside RAM, unaligned pool
    Busy,        // the device has a pool already; the pages belong to somebody
    OutOfWindow, // window outside the block
    NoSuchDevice,
    IllegalCall,   // double free, foreign or stale handle, fields that do not match; nothing was changed
    PlatformError, // the platform refused with a code that has no other meaning here
    BadDescriptor  // no such file descriptor
};

constexpr int to_code(DmaError error) noexcept
{
    switch (error) {
    case DmaError::NoMemory:
        return DMAUDIT_ENOMEM;
    case DmaError::LayoutError:
        return DMAUDIT_EINVAL;
    case DmaError::DmaMaskNotMatch:
        return DMAUDIT_EMASK;
    case DmaError::AlignMismatch:
        return DMAUDIT_EALIGN;
    case DmaError::NullPointer:
        return DMAUDIT_ENULL;
    case DmaError::ZeroSizedBuffer:
        return DMAUDIT_EZERO;
    case DmaError::BadArgument:
        return DMAUDIT_EINVAL;
    case DmaError::Busy:
        return DMAUDIT_EBUSY;
    case DmaError::OutOfWindow:
        return DMAUDIT_ENXIO;
    case DmaError::NoSuchDevice:
        return DMAUDIT_ENODEV;
    case DmaError::IllegalCall:
        return DMAUDIT_EFAULT;
    case DmaError::PlatformError:
        return DMAUDIT_EIO;
    case DmaError::BadDescriptor:
        return DMAUDIT_EBADF;
    }
    return DMAUDIT_EIO;
}

// What a platform call answered, as an error of ours. `code` is not DMAUDIT_OK.
constexpr DmaError from_code(int code) noexcept
{
    switch (code) {
    case DMAUDIT_EINVAL:
        return DmaError::BadArgument;
    case DMAUDIT_ENOMEM:
        return DmaError::NoMemory;
    case DMAUDIT_EMASK:
        return DmaError::DmaMaskNotMatch;
    case DMAUDIT_EALIGN:
        return DmaError::AlignMismatch;
    case DMAUDIT_ENULL:
        return DmaError::NullPointer;
    case DMAUDIT_EZERO:
        return DmaError::ZeroSizedBuffer;
    case DMAUDIT_EBUSY:
        return DmaError::Busy;
    case DMAUDIT_ENXIO:
        return DmaError::OutOfWindow;
    case DMAUDIT_ENODEV:
        return DmaError::NoSuchDevice;
    case DMAUDIT_EFAULT:
        return DmaError::IllegalCall;
    case DMAUDIT_EBADF:
        return DmaError::BadDescriptor;
    default:
        return DmaError::PlatformError;
    }
}

// A value or an error, after std::expected. value() on an error (and error() on a value) is a programming mistake.
template <class T> class [[nodiscard]] Result {
  public:
    using value_type = T;
    Result(T value) noexcept : state_(std::in_place_index<0>, std::move(value)) {}
    Result(DmaError error) noexcept : state_(std::in_place_index<1>, error) {}

    explicit operator bool() const noexcept { return state_.index() == 0; }
    T& operator*() noexcept { return *std::get_if<0>(&state_); }
    const T& operator*() const noexcept { return *std::get_if<0>(&state_); }
    T* operator->() noexcept { return std::get_if<0>(&state_); }
    const T* operator->() const noexcept { return std::get_if<0>(&state_); }
    DmaError error() const noexcept { return *std::get_if<1>(&state_); }
    int code() const noexcept { return *this ? DMAUDIT_OK : to_code(error()); }

  private:
    std::variant<T, DmaError> state_;
};

// Success or an error.
template <> class [[nodiscard]] Result<void> {
  public:
    Result() noexcept = default;
    Result(DmaError error) noexcept : error_(error) {}

    explicit operator bool() const noexcept { return !error_; }
    DmaError error() const noexcept { return *error_; }
    int code() const noexcept { return error_ ? to_code(*error_) : DMAUDIT_OK; }

  private:
    std::optional<DmaError> error_;
};
using Status = Result<void>;

} // namespace dmaudit::alloc
