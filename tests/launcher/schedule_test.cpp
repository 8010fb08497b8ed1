#include "launcher/schedule.hpp"

#include <gtest/gtest.h>

namespace slicereduce {
namespace {

TrainOptions options_with(const std::string& schedule) {
  TrainOptions options;
  options.schedule = schedule;
  options.epochs = 60;
  options.step.lr = 1.0;
  return options;
}

TEST(Schedule, CosineFallsFromLrToZero) {
  const Schedule schedule(options_with("cosine"), 10);
  EXPECT_EQ(schedule.total_steps(), 600);
  EXPECT_DOUBLE_EQ(schedule.lr(0), 1.0);
  EXPECT_NEAR(schedule.lr(300), 0.5, 1e-12);
  EXPECT_LT(schedule.lr(599), 1e-4);
}

TEST(Schedule, WarmUpRisesInALineToLr) {
  TrainOptions options = options_with("cosine");
  options.warmup_epochs = 5;
  const Schedule schedule(options, 10);
  EXPECT_DOUBLE_EQ(schedule.lr(0), 0.02);
  EXPECT_DOUBLE_EQ(schedule.lr(24), 0.5);
  EXPECT_DOUBLE_EQ(schedule.lr(49), 1.0);
  EXPECT_DOUBLE_EQ(schedule.lr(50), 1.0);
}

TEST(Schedule, StepTakesATenthEveryThirtyEpochs) {
  const Schedule schedule(options_with("step"), 10);
  EXPECT_DOUBLE_EQ(schedule.lr(299), 1.0);
  EXPECT_DOUBLE_EQ(schedule.lr(300), 0.1);
}

TEST(Schedule, StepDropsAtItsMilestones) {
  TrainOptions options = options_with("step");
  options.lr_milestones = "6,13";
  options.lr_gamma = 0.2;
  const Schedule schedule(options, 10);
  EXPECT_DOUBLE_EQ(schedule.lr(59), 1.0);
  EXPECT_DOUBLE_EQ(schedule.lr(60), 0.2);
  EXPECT_DOUBLE_EQ(schedule.lr(129), 0.2);
  EXPECT_NEAR(schedule.lr(130), 0.04, 1e-12);
}

TEST(Schedule, ImagesGrow) {
  TrainOptions options;
  EXPECT_EQ(Schedule(options, 10).image_size(5), 0);
  options.size_schedule = "1:128,3:160";
  const Schedule schedule(options, 10);
  EXPECT_EQ(schedule.image_size(9), 0);
  EXPECT_EQ(schedule.image_size(10), 128);
  EXPECT_EQ(schedule.image_size(30), 160);
}

TEST(Schedule, StepsOverrideEpochs) {
  TrainOptions options = options_with("constant");
  options.steps = 25;
  const Schedule schedule(options, 10);
  EXPECT_EQ(schedule.total_steps(), 25);
  EXPECT_TRUE(schedule.ends_epoch(10));
  EXPECT_TRUE(schedule.ends_epoch(25));
  EXPECT_FALSE(schedule.ends_epoch(24));
  EXPECT_EQ(schedule.epoch(24), 2);
  EXPECT_EQ(schedule.step_in_epoch(24), 4);
}

TEST(Schedule, RatioFollowsItsEpochs) {
  TrainOptions options = options_with("constant");
  options.network.mode = "compact";
  options.ratio_schedule = "0:0.25,2:0.5,3:1.0";
  const Schedule schedule(options, 10);
  EXPECT_EQ(schedule.ratio(0), 0.25);
  EXPECT_EQ(schedule.ratio(19), 0.25);
  EXPECT_EQ(schedule.ratio(20), 0.5);
  EXPECT_EQ(schedule.ratio(599), 1.0);
  EXPECT_EQ(schedule.mode(0), Mode::compact);
  options.mode_schedule = "1:feedback";
  EXPECT_EQ(Schedule(options, 10).mode(9), Mode::compact);
  EXPECT_EQ(Schedule(options, 10).mode(10), Mode::feedback);
  options.mode_schedule.clear();
  options.network.mode = "dense";
  EXPECT_EQ(Schedule(options, 10).ratio(0), 1.0);
}

}  // namespace
}  // namespace slicereduce
