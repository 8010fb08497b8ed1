#include "core/timeline.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "core/profile_range.hpp"

namespace slicereduce {
namespace {

TEST(Timeline, HasRangesInTheOrderOfTheirEnds) {
  Timeline timeline;
  {
    const ProfileRange outer("step");
    const ProfileRange inner("forward");
  }
  const auto events = timeline.take();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].name, "forward");
  EXPECT_EQ(events[1].name, "step");
  EXPECT_LE(events[1].began, events[0].began);
  EXPECT_LE(events[0].began, events[0].ended);
  EXPECT_LE(events[0].ended, events[1].ended);
  EXPECT_EQ(events[0].row, name_of_this_thread());
  EXPECT_TRUE(timeline.take().empty());
}

TEST(Timeline, HasARowForEachThread) {
  Timeline timeline;
  std::jthread([] {
    name_this_thread("loader 0");
    const ProfileRange range("images");
  }).join();
  std::jthread([] { const ProfileRange range("unnamed"); }).join();
  const auto events = timeline.take();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].row, "loader 0");
  EXPECT_NE(events[1].row, name_of_this_thread());
  EXPECT_NE(events[1].row, "loader 0");
}

TEST(Timeline, LeavesOutWhatBeganBeforeItOrEndsAfterIt) {
  std::optional<ProfileRange> before("before");
  auto timeline = std::make_unique<Timeline>();
  before.reset();
  std::optional<ProfileRange> after("after");
  EXPECT_TRUE(Timeline::records());
  EXPECT_TRUE(timeline->take().empty());
  timeline.reset();
  EXPECT_FALSE(Timeline::records());
  after.reset();
  Timeline next;
  EXPECT_TRUE(next.take().empty());
}

TEST(Timeline, IsOneAtATime) {
  const Timeline timeline;
  EXPECT_THROW(Timeline(), Error);
  EXPECT_TRUE(Timeline::records());
}

TEST(Timeline, TakesWhatIsToldFromManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  Timeline timeline;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < kEach; ++i) {
          const ProfileRange range("part");
        }
      });
    }
  }
  EXPECT_EQ(timeline.take().size(), static_cast<std::size_t>(kThreads * kEach));
}

TEST(ProfileSequence, HasPartsThatFollowEachOther) {
  Timeline timeline;
  ProfileSequence backward;
  backward.begin();
  backward.end_part("fc.weight");
  backward.end_part("conv1.weight");
  const auto events = timeline.take();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[1].name, "conv1.weight");
  EXPECT_EQ(events[0].ended, events[1].began);
}

TEST(ProfileSequence, TellsNothingOfAPartThatBeganBefore) {
  ProfileSequence backward;
  backward.begin();
  Timeline timeline;
  backward.end_part("fc.weight");
  EXPECT_TRUE(timeline.take().empty());
}

}  // namespace
}  // namespace slicereduce
