#include "comm/link_model.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace slicereduce {
namespace {

constexpr Link kLink{.bytes_per_s = 1e6, .latency_s = 0.01};

TEST(RingAllreduce, IsBandwidthAndLatency) {
  EXPECT_EQ(ring_allreduce_s(1e6, 1, kLink), 0);
  EXPECT_DOUBLE_EQ(ring_allreduce_s(1e6, 2, kLink), 1 + 0.02);
  EXPECT_DOUBLE_EQ(ring_allreduce_s(1e6, 4, kLink), 1.5 + 0.06);
  EXPECT_NEAR(ring_allreduce_s(1e6, 1000, {.bytes_per_s = 1e6, .latency_s = 0}), 2, 0.01);
}

TEST(TreeAllreduce, GoesUpAndDown) {
  EXPECT_EQ(tree_allreduce_s(1e6, 1, kLink), 0);
  EXPECT_DOUBLE_EQ(tree_allreduce_s(1e6, 2, kLink), 2 * 1.01);
  EXPECT_DOUBLE_EQ(tree_allreduce_s(1e6, 5, kLink), 6 * 1.01);
  EXPECT_DOUBLE_EQ(tree_allreduce_s(1e6, 1024, kLink), 20 * 1.01);
}

TEST(Allreduce, OfOneRankANodeIsTheRing) {
  for (const std::int64_t ranks : {1, 2, 7}) {
    EXPECT_DOUBLE_EQ(allreduce_s(1e6, ranks, {.link = kLink}), ring_allreduce_s(1e6, ranks, kLink));
  }
}

TEST(Allreduce, OfSeveralRanksANodeIsTreesAndARingOfNodes) {
  const auto of = [](std::int64_t ranks, std::int64_t ranks_per_node) {
    return allreduce_s(1e6, ranks,
                       {.link = kLink, .ranks_per_node = ranks_per_node, .node_bytes_per_s = 1e7});
  };
  EXPECT_DOUBLE_EQ(of(4, 2), 2 * 0.1 + ring_allreduce_s(1e6, 2, kLink));
  EXPECT_DOUBLE_EQ(of(32, 8), 2 * 3 * 0.1 + ring_allreduce_s(1e6, 4, kLink));
  EXPECT_DOUBLE_EQ(of(12, 5), 2 * 3 * 0.1 + ring_allreduce_s(1e6, 3, kLink)) << "the last node has two";
  EXPECT_DOUBLE_EQ(of(3, 8), 2 * 2 * 0.1) << "all on one node";
}

double seconds(double bytes) { return bytes / 100; }

constexpr StepCompute kCompute{.before_s = 1, .backward_s = 2, .after_s = 0.5};

TEST(StepTime, HidesWhatFitsBehindBackward) {
  const std::vector<BucketLoad> buckets{{.bytes = 50, .ready = 0.5}, {.bytes = 10, .ready = 1}};
  EXPECT_DOUBLE_EQ(step_s(kCompute, buckets, seconds), 1 + 2 + 0.1 + 0.5);
}

TEST(StepTime, QueuesWhatTheWireCannotTakeYet) {
  const std::vector<BucketLoad> buckets{{.bytes = 300, .ready = 0.25}, {.bytes = 100, .ready = 0.5}};
  EXPECT_DOUBLE_EQ(step_s(kCompute, buckets, seconds), 1 + (0.5 + 3 + 1) + 0.5);
}

TEST(StepTime, SendsNothingBeforeRanksAgree) {
  const std::vector<BucketLoad> buckets{{.bytes = 50, .ready = 0.5}, {.bytes = 10, .ready = 1}};
  EXPECT_DOUBLE_EQ(step_s(kCompute, buckets, seconds, 1), step_s(kCompute, buckets, seconds));
  EXPECT_DOUBLE_EQ(step_s(kCompute, buckets, seconds, 6), 6 + 0.5 + 0.1 + 0.5);
}

TEST(StepTime, PaysLatencyForEveryMessage) {
  const auto with_latency = [](double bytes) { return bytes / 100 + 0.2; };
  const std::vector<BucketLoad> whole{{.bytes = 100, .messages = 1, .ready = 1}};
  const std::vector<BucketLoad> factors{{.bytes = 100, .messages = 2, .ready = 1}};
  EXPECT_DOUBLE_EQ(step_s(kCompute, factors, with_latency), step_s(kCompute, whole, with_latency) + 0.2);
  EXPECT_DOUBLE_EQ(step_s(kCompute, std::vector<BucketLoad>{}, seconds), 3.5);
}

}  // namespace
}  // namespace slicereduce
