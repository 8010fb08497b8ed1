#include "launcher/roster.hpp"

#include <gtest/gtest.h>

namespace slicereduce {
namespace {

using std::chrono::seconds;
using Clock = Roster::Clock;

const Clock::time_point kStart = Clock::now();

Roster roster_of_three() { return {{"a", "b", "c"}, {1, 2}, kStart}; }

TEST(Roster, NobodyIsSilentWithinTheLimit) {
  Roster roster = roster_of_three();
  EXPECT_EQ(roster.silent(seconds(10), kStart + seconds(10)), std::nullopt);
  roster.hear(1, {}, kStart + seconds(9));
  roster.hear(2, {}, kStart + seconds(9));
  EXPECT_EQ(roster.silent(seconds(10), kStart + seconds(19)), std::nullopt);
}

TEST(Roster, TheOneThatWasNotHeardForTheLongestTimeIsSilent) {
  Roster roster = roster_of_three();
  roster.hear(2, {.step = 7, .seconds = 4.4, .phase = Phase::evaluating}, kStart + seconds(2));
  roster.hear(1, {}, kStart + seconds(5));
  const auto now = kStart + seconds(33);
  EXPECT_EQ(roster.silent(seconds(10), now), 2);
  EXPECT_EQ(roster.describe(2, now), "rank 2 on c, last heard 31 s ago (step 7, evaluating for 4 s)");
}

TEST(Roster, ARankThatWasNeverHeardIsStarting) {
  EXPECT_EQ(roster_of_three().describe(1, kStart + seconds(3)),
            "rank 1 on b, last heard 3 s ago (starting for 0 s)");
}

TEST(Roster, WhoIsWatchedByNobodyIsNotSilent) {
  const Roster alone({"a"}, {}, kStart);
  EXPECT_EQ(alone.silent(seconds(1), kStart + seconds(100)), std::nullopt);
}

TEST(Roster, TheFurthestBehindThatWaitsForNobodyIsLate) {
  Roster roster = roster_of_three();
  const Beat waiting{.step = 8, .seconds = 60, .phase = Phase::training, .waits = 1};
  roster.hear(1, waiting, kStart);
  roster.hear(2, {.step = 8, .seconds = 61, .phase = Phase::training}, kStart);
  EXPECT_EQ(roster.late(0, waiting, kStart), 2);
  roster.hear(1, {.step = 7, .seconds = 1, .phase = Phase::training}, kStart);
  EXPECT_EQ(roster.late(0, waiting, kStart), 1);
  // Of those in the same step, the phase that comes first, and then the one that has been there for longer.
  roster.hear(1, {.step = 8, .seconds = 90, .phase = Phase::evaluating}, kStart);
  EXPECT_EQ(roster.late(0, waiting, kStart), 2);
  roster.hear(1, {.step = 8, .seconds = 90, .phase = Phase::training}, kStart);
  EXPECT_EQ(roster.late(0, waiting, kStart), 1);
  EXPECT_EQ(roster.late(0, {.step = 3}, kStart), 0);
}

TEST(Roster, WhoIsSilentIsLaterEachSecond) {
  Roster roster = roster_of_three();
  roster.hear(1, {.step = 8, .seconds = 0.1, .phase = Phase::training}, kStart);
  roster.hear(2, {.step = 8, .seconds = 2, .phase = Phase::training}, kStart + seconds(5));
  EXPECT_EQ(roster.late(0, {.step = 8, .waits = 1}, kStart + seconds(5)), 1);
}

TEST(Roster, WhoWasStoppedItselfExcusesTheOthers) {
  Roster roster = roster_of_three();
  roster.excuse_all(kStart + seconds(100));
  EXPECT_EQ(roster.silent(seconds(10), kStart + seconds(101)), std::nullopt);
  EXPECT_NE(roster.silent(seconds(10), kStart + seconds(111)), std::nullopt);
}

TEST(Roster, NobodyIsLateWhereAllWait) {
  Roster roster({"a", "b"}, {1}, kStart);
  const Beat waiting{.step = 8, .waits = 1};
  roster.hear(1, waiting, kStart);
  EXPECT_EQ(roster.late(0, waiting, kStart), std::nullopt);
}

TEST(Activity, TellsStepPhaseAndTime) {
  Activity activity;
  EXPECT_EQ(describe(activity.beat()), "starting for 0 s");
  activity.at_step(7);
  EXPECT_EQ(describe(activity.beat()), "step 7, training for 0 s");
  activity.enter(Phase::saving);
  const Beat beat = activity.beat();
  EXPECT_EQ(beat.step, 7);
  EXPECT_EQ(beat.waits, 0);
  EXPECT_GE(beat.seconds, 0);
  EXPECT_EQ(describe(beat), "step 7, saving a checkpoint for 0 s");
}

}  // namespace
}  // namespace slicereduce
