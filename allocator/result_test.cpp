#include "allocator/result.hpp"

#include <memory>

#include <gtest/gtest.h>

namespace dmaudit::alloc {
namespace {

TEST(Result, EveryErrorHasItsCode)
{
    EXPECT_EQ(to_code(DmaError::NoMemory), DMAUDIT_ENOMEM);
    EXPECT_EQ(to_code(DmaError::LayoutError), DMAUDIT_EINVAL);
    EXPECT_EQ(to_code(DmaError::DmaMaskNotMatch), DMAUDIT_EMASK);
    EXPECT_EQ(to_code(DmaError::AlignMismatch), DMAUDIT_EALIGN);
    EXPECT_EQ(to_code(DmaError::NullPointer), DMAUDIT_ENULL);
    EXPECT_EQ(to_code(DmaError::ZeroSizedBuffer), DMAUDIT_EZERO);
    EXPECT_EQ(to_code(DmaError::BadArgument), DMAUDIT_EINVAL);
    EXPECT_EQ(to_code(DmaError::Busy), DMAUDIT_EBUSY);
    EXPECT_EQ(to_code(DmaError::OutOfWindow), DMAUDIT_ENXIO);
    EXPECT_EQ(to_code(DmaError::NoSuchDevice), DMAUDIT_ENODEV);
    EXPECT_EQ(to_code(DmaError::IllegalCall), DMAUDIT_EFAULT);
    EXPECT_EQ(to_code(DmaError::PlatformError), DMAUDIT_EIO);
    EXPECT_EQ(to_code(DmaError::BadDescriptor), DMAUDIT_EBADF);
}

TEST(Result, CodesOfThePlatformSurviveTheRoundTrip)
{
    for (int code = DMAUDIT_EINVAL; code <= DMAUDIT_EBADF; code++)
        EXPECT_EQ(to_code(from_code(code)), code == DMAUDIT_ENOSYS ? DMAUDIT_EIO : code);
    EXPECT_EQ(from_code(12345), DmaError::PlatformError);
}

TEST(Result, HoldsAValueOrAnError)
{
    Result<std::unique_ptr<int>> value(std::make_unique<int>(7));
    ASSERT_TRUE(value);
    EXPECT_EQ(**value, 7);
    EXPECT_EQ(value.code(), DMAUDIT_OK);
    const Result<int> error(DmaError::Busy);
    EXPECT_FALSE(error);
    EXPECT_EQ(error.error(), DmaError::Busy);
    EXPECT_EQ(error.code(), DMAUDIT_EBUSY);
    EXPECT_EQ(Status().code(), DMAUDIT_OK);
    EXPECT_EQ(Status(DmaError::NullPointer).code(), DMAUDIT_ENULL);
}

} // namespace
} // namespace dmaudit::alloc
