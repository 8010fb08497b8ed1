#include "launcher/injected_faults.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "core/error.hpp"

namespace slicereduce {
namespace {

using std::chrono::milliseconds;

Beat at_step(std::int64_t step) { return {.step = step, .phase = Phase::training}; }

TEST(ParseFaults, KnowsWhatWhoAndWhere) {
  const auto faults = parse_faults("kill@rank1:step7,stop@rank0:checkpoint,slow:200ms@rank12");
  ASSERT_EQ(faults.size(), 3U);
  EXPECT_EQ(faults[0].kind, FaultKind::kill);
  EXPECT_EQ(faults[0].rank, 1);
  EXPECT_EQ(faults[0].phase, Phase::training);
  EXPECT_EQ(faults[0].step, 7);
  EXPECT_EQ(faults[1].kind, FaultKind::stop);
  EXPECT_EQ(faults[1].phase, Phase::saving);
  EXPECT_EQ(faults[2].kind, FaultKind::slow);
  EXPECT_EQ(faults[2].rank, 12);
  EXPECT_EQ(faults[2].delay, milliseconds(200));
  EXPECT_TRUE(parse_faults("").empty());
}

TEST(ParseFaults, RefusesWhatIsNoneAndNamesThePart) {
  for (const std::string part :
       {"kill", "kill@rank1", "kill@1:step7", "kil@rank1:step7", "kill@rank1:7", "kill:20ms@rank1:step7",
        "slow@rank1", "slow:20@rank1", "nan-loss@rank0", "nan-loss@rank0:evaluation",
        "corrupt-weights@rank0:start", "kill@rank1:step7 ", "kill@rank99999999999:step1", "kill@rank0:step0",
        "@rank1:step7"}) {
    try {
      (void)parse_faults("stop@rank0:start," + part);
      ADD_FAILURE() << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_NE(std::string(error.what()).find("'" + part + "'"), std::string::npos) << error.what();
    }
  }
}

TEST(InjectedFaults, StrikeTheirRankAtTheirPlaceAlone) {
  const std::string text = "error@rank1:step7,error@rank1:evaluation";
  InjectedFaults mine(text, 1, Log::silent());
  EXPECT_NO_THROW(mine.strike(at_step(6)));
  EXPECT_NO_THROW(mine.strike({.step = 7, .phase = Phase::saving}));
  EXPECT_THROW(mine.strike(at_step(7)), Error);
  EXPECT_NO_THROW(mine.strike(at_step(8)));
  EXPECT_THROW(mine.strike({.step = 9, .phase = Phase::evaluating}), Error);
  EXPECT_NO_THROW(InjectedFaults(text, 0, Log::silent()).strike(at_step(7)));
  EXPECT_NO_THROW(InjectedFaults().strike(at_step(7)));
}

TEST(InjectedFaults, ASlowRankSleepsFromItsStepOn) {
  InjectedFaults slow("slow:60ms@rank0:step3", 0, Log::silent());
  const auto slept_at = [&](std::int64_t step) {
    const auto began = std::chrono::steady_clock::now();
    slow.strike(at_step(step));
    return std::chrono::steady_clock::now() - began;
  };
  EXPECT_GE(slept_at(3), milliseconds(60));
  EXPECT_GE(slept_at(9), milliseconds(60));
}

TEST(InjectedFaults, SpoilWhatTheyNameInThatStep) {
  const InjectedFaults mine("nan-loss@rank0:step2,corrupt-weights@rank0:step4,nan-loss@rank1:step3", 0,
                            Log::silent());
  EXPECT_TRUE(mine.spoils_images(2));
  EXPECT_FALSE(mine.spoils_images(3));
  EXPECT_FALSE(mine.spoils_images(4));
  EXPECT_TRUE(mine.spoils_weights(4));
  EXPECT_FALSE(mine.spoils_weights(2));
}

TEST(InjectedFaultsDeathTest, KillAndExitEndTheProcess) {
  EXPECT_EXIT(InjectedFaults("kill@rank0:start", 0, Log::silent()).strike({.phase = Phase::starting}),
              ::testing::KilledBySignal(9), "");
  EXPECT_EXIT(InjectedFaults("exit@rank0:step1", 0, Log::silent()).strike(at_step(1)),
              ::testing::ExitedWithCode(1), "");
}

}  // namespace
}  // namespace slicereduce
