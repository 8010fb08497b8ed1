#include "launcher/run_report.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <vector>

#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

class Report : public ::testing::Test {
 protected:
  Report() { directory_.create(); }

  [[nodiscard]] RunReport open(std::int64_t steps_done) const {
    return {directory_,        Log::silent(),         steps_done, /*total_steps=*/100, /*log_every=*/10,
            /*dense_bytes=*/0, [] { return 1000.0; }, "lines"};
  }
  static void train(RunReport& report, std::int64_t first, std::int64_t last) {
    for (std::int64_t step = first; step <= last; ++step) {
      StepRecord record{.step = step, .data_ms = 1, .plan_ms = 2, .global_images = 4};
      record.result.loss = static_cast<double>(step);
      record.result.times.backward_ms = 3;
      report.step(record);
    }
  }
  [[nodiscard]] std::vector<nlohmann::json> lines() const {
    std::vector<nlohmann::json> lines;
    std::ifstream file(directory_.metrics());
    for (std::string text; std::getline(file, text);) {
      lines.push_back(nlohmann::json::parse(text));
    }
    return lines;
  }

  testing::TemporaryFolder folder_;
  RunDirectory directory_{folder_.path() / "run"};
};

TEST_F(Report, NoStepGoesUnseenAtAnEvaluation) {
  RunReport report = open(0);
  train(report, 1, 13);
  report.finish_interval();
  report.evaluation(13, 0, "dense", {}, 1);
  train(report, 14, 20);
  const auto written = lines();
  ASSERT_EQ(written.size(), 4U);
  EXPECT_EQ(written[1].at("step"), 13);
  EXPECT_EQ(written[1].at("loss"), 12.0);  // the mean of 11, 12 and 13
  EXPECT_EQ(written[1].at("step_ms"), 6.0);
  EXPECT_EQ(written[1].at("flops"), 4000.0);  // of the last step's images
  EXPECT_EQ(written[2].at("network"), "dense");
  EXPECT_EQ(written[3].at("loss"), 17.0);
}

TEST_F(Report, SkippedStepsAreCountedAndNotInTheLoss) {
  RunReport report = open(0);
  train(report, 1, 8);
  StepRecord skipped{.step = 9, .global_images = 4};
  skipped.result.loss = std::numeric_limits<double>::quiet_NaN();
  skipped.result.finite = false;
  report.step(skipped);
  train(report, 10, 10);
  const auto written = lines();
  ASSERT_EQ(written.size(), 1U);
  EXPECT_EQ(written[0].at("skipped_steps"), 1);
  EXPECT_EQ(written[0].at("loss"), 46.0 / 9);
}

TEST_F(Report, AnIntervalWithoutStepsIsNoLine) {
  RunReport report = open(0);
  train(report, 1, 10);
  report.finish_interval();
  EXPECT_EQ(lines().size(), 1U);
}

/// Its steps are made again, by a run that never got to a checkpoint as well.
TEST_F(Report, TakesOffWhatIsBeyondItsStart) {
  {
    RunReport report = open(0);
    train(report, 1, 30);
  }
  EXPECT_EQ(lines().size(), 3U);
  (void)open(20);
  EXPECT_EQ(lines().size(), 2U);
  (void)open(0);
  EXPECT_EQ(lines().size(), 0U);
}

}  // namespace
}  // namespace slicereduce
