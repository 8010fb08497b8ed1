#include "launcher/deadline.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace slicereduce {
namespace {

using std::chrono::milliseconds;

TEST(Deadline, IsToldOnceWhereItIsMissed) {
  std::atomic<int> told = 0;
  {
    const Deadline deadline(milliseconds(1), [&] { ++told; });
    while (told == 0) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  EXPECT_EQ(told, 1);
}

TEST(Deadline, IsNotToldWhereItIsMetAndKeepsNobodyWaiting) {
  std::atomic<int> told = 0;
  {
    const Deadline deadline(std::chrono::hours(1), [&] { ++told; });
  }  // returns now
  EXPECT_EQ(told, 0);
}

}  // namespace
}  // namespace slicereduce
