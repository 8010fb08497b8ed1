#include "launcher/message_of.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <new>

#include "core/error.hpp"

namespace slicereduce {
namespace {

TEST(MessageOf, AnErrorIsWhatItSays) {
  EXPECT_EQ(message_of(Error(ErrorKind::io, "the disk is full")), "the disk is full");
}

TEST(MessageOf, LibTorchsComesWithoutItsBacktrace) {
  try {
    (void)at::ones({2}).add(at::ones({3}));
    FAIL();
  } catch (const std::exception& problem) {
    const std::string message = message_of(problem);
    EXPECT_NE(message.find("must match"), std::string::npos) << message;
    EXPECT_EQ(message.find("Exception raised from"), std::string::npos) << message;
  }
}

TEST(MessageOf, TooLittleMemoryIsToldInWords) {
  EXPECT_EQ(message_of(std::bad_alloc()), "there is not enough memory");
}

}  // namespace
}  // namespace slicereduce
