#include "core/stream_marks.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace slicereduce {
namespace {

TEST(StreamMarks, TellTheTimeBetweenThemRunAfterRun) {
  const auto marks = make_stream_marks(c10::kCPU, 2);
  for (const int ms : {20, 1}) {
    marks->record(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    marks->record(1);
    EXPECT_TRUE(marks->passed(0));
    EXPECT_GE(marks->ms_between(0, 1), ms);
    EXPECT_LE(marks->ms_between(1, 0), -ms);
  }
}

}  // namespace
}  // namespace slicereduce
