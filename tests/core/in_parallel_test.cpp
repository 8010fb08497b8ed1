#include "core/in_parallel.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace slicereduce {
namespace {

TEST(InParallel, DoesEachOnce) {
  for (const std::size_t threads : {1U, 3U, 100U}) {
    std::vector<std::atomic<int>> done(50);
    in_parallel(done.size(), threads, [&](std::size_t at) { ++done[at]; });
    for (const auto& times : done) {
      EXPECT_EQ(times, 1);
    }
  }
  in_parallel(0, 4, [](std::size_t) { FAIL(); });
}

TEST(InParallel, ThrowsTheFirstFailureAndBeginsNoFurther) {
  std::atomic<int> begun = 0;
  try {
    in_parallel(1000, 1, [&](std::size_t at) {
      ++begun;
      if (at >= 3) {
        throw std::runtime_error(std::to_string(at));
      }
    });
    FAIL();
  } catch (const std::runtime_error& failure) {
    EXPECT_STREQ(failure.what(), "3");
  }
  EXPECT_EQ(begun, 4);
}

}  // namespace
}  // namespace slicereduce
