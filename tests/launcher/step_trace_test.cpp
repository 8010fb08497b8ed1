#include "launcher/step_trace.hpp"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/profile_range.hpp"
#include "tests/support/in_process_ranks.hpp"

namespace slicereduce {
namespace {

using Json = nlohmann::json;

/// A run of so many steps on one rank. What was traced, and after which step it was given (0: at the end).
std::pair<std::optional<std::string>, std::int64_t> trace_of(std::int64_t done, std::int64_t traced,
                                                             std::int64_t total) {
  std::pair<std::optional<std::string>, std::int64_t> result;
  testing::run_ranks(1, [&](Communicator& communicator) {
    StepTrace trace(done, traced, communicator);
    for (std::int64_t step = done + 1; step <= total && !result.first; ++step) {
      trace.before(step);
      {
        const ProfileRange range("step " + std::to_string(step));
        Timeline::record({.name = "AllReduce", .row = "AllReduce 2", .detail = "bucket \"2\""});
        Timeline::record({.name = "AllReduce", .row = "AllReduce 10"});
      }
      result = {trace.after(step), step};
    }
    if (!result.first) {
      result = {trace.end(), 0};
    }
  });
  return result;
}

std::vector<std::string> names_of(const Json& trace, const std::string& phase) {
  std::vector<std::string> names;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") == phase) {
      names.push_back(event.at("name"));
    }
  }
  return names;
}

TEST(StepTrace, HasTheStepsBehindTheFirstOnes) {
  const auto [text, given] = trace_of(/*done=*/10, /*traced=*/2, /*total=*/20);
  ASSERT_TRUE(text);
  EXPECT_EQ(given, 15);
  const std::vector<std::string> expected{"AllReduce", "AllReduce", "step 14",
                                          "AllReduce", "AllReduce", "step 15"};
  EXPECT_EQ(names_of(Json::parse(*text), "X"), expected);
}

TEST(StepTrace, OfARunThatEndsEarlierHasWhatThereWas) {
  const auto [text, given] = trace_of(0, 100, 5);
  ASSERT_TRUE(text);
  EXPECT_EQ(given, 0);
  EXPECT_EQ(names_of(Json::parse(*text), "X").size(), 6U);
}

TEST(StepTrace, IsNothingWhereNoneIsAskedForOrItDoesNotBegin) {
  EXPECT_FALSE(trace_of(0, 0, 10).first);
  EXPECT_FALSE(trace_of(0, 5, StepTrace::kStepsBefore).first);
}

TEST(StepTrace, NamesRowsInTheOrderOfTheirNumbersAndTheTrainingsFirst) {
  const Json trace = Json::parse(*trace_of(0, 1, 10).first);
  std::map<std::string, int> rows;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("name") == "thread_name") {
      rows[event.at("args").at("name")] = event.at("tid");
    }
  }
  const std::map<std::string, int> expected{
      {"training", 10'000}, {"AllReduce 2", 10'001}, {"AllReduce 10", 10'002}};
  EXPECT_EQ(rows, expected);
  for (const auto& event : trace.at("traceEvents")) {
    if (event.contains("args") && event.at("args").contains("detail")) {
      EXPECT_EQ(event.at("tid"), 10'001);
      EXPECT_EQ(event.at("args").at("detail"), "bucket \"2\"");
    }
  }
}

}  // namespace
}  // namespace slicereduce
