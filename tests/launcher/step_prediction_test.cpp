#include "launcher/step_prediction.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "launcher/reduction.hpp"
#include "launcher/train_options.hpp"
#include "models/cost.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

using testing::expect_error_from;
using testing::TemporaryFolder;

/// Two layers: the last one has half of the arithmetic and three quarters of the numbers.
const std::vector<LayerCost> kLayers{
    {.name = "first", .numel = 100, .kept_numel = 100, .dense_numel = 200, .flops = 10, .dense_flops = 40},
    {.name = "last", .numel = 300, .kept_numel = 300, .dense_numel = 600, .flops = 10, .dense_flops = 40}};

TEST(BucketLoads, GoFromTheLastLayerToTheFirst) {
  const BucketCapacity one_each{.bytes = 4, .first_bytes = 4, .last_bytes = 4};
  const auto loads = bucket_loads(kLayers, {.wire = WireType::fp32, .capacity = one_each});
  ASSERT_EQ(loads.size(), 2U);
  EXPECT_EQ(loads[0].bytes, 1200);
  EXPECT_EQ(loads[0].ready, 0.5);
  EXPECT_EQ(loads[1].bytes, 400);
  EXPECT_EQ(loads[1].ready, 1);
  const auto dense = bucket_loads(kLayers, {.wire = WireType::bf16, .capacity = {}, .dense = true});
  ASSERT_EQ(dense.size(), 1U);
  EXPECT_EQ(dense[0].bytes, 1600);
  EXPECT_EQ(dense[0].messages, 1);
  EXPECT_EQ(dense[0].ready, 1);
}

TEST(BucketLoads, OfFactorsAreAsManyAsOfTheWhole) {
  const BucketCapacity one_each{.bytes = 4, .first_bytes = 4, .last_bytes = 4};
  std::vector<LayerCost> layers = kLayers;
  layers[1].numel = 20;
  const auto loads = bucket_loads(layers, {.wire = WireType::fp32, .capacity = one_each});
  ASSERT_EQ(loads.size(), 2U);
  EXPECT_EQ(loads[0].bytes, 80);
  EXPECT_EQ(loads[0].messages, 2);
  EXPECT_EQ(loads[1].messages, 1);
}

TEST(BucketLoads, AreReadyInTheLastMicrobatch) {
  Sending sending{
      .wire = WireType::fp32, .capacity = {.bytes = 4, .first_bytes = 4, .last_bytes = 4}, .microbatches = 4};
  EXPECT_EQ(bucket_loads(kLayers, sending)[0].ready, 1 - 0.5 / 4);
  sending.overlaps = false;
  EXPECT_EQ(bucket_loads(kLayers, sending)[0].ready, 1);
}

TEST(PredictSteps, TakeTheBestBucketUnlessTold) {
  std::vector<LayerCost> layers = kLayers;
  layers[1].numel = layers[1].kept_numel = layers[1].dense_numel = 3'000'000;
  const Sending sending{.wire = WireType::fp32, .capacity = bucket_capacity(0.25)};
  const StepCompute compute{.before_s = 0, .backward_s = 0.01, .after_s = 0};
  const std::vector<std::int64_t> world_sizes{8};
  for (const double latency_s : {0.0, 0.1}) {
    const Cluster cluster{.link = {.bytes_per_s = 1e9, .latency_s = latency_s}};
    const auto told = predict_steps(layers, sending, compute, compute, cluster, world_sizes, 0.25).front();
    const auto best = predict_steps(layers, sending, compute, compute, cluster, world_sizes).front();
    EXPECT_EQ(told.bucket_mb, 0.25);
    EXPECT_LE(best.ours_ms, told.ours_ms);
    EXPECT_EQ(best.ours_ms, best_bucket(layers, sending, compute, cluster, 8).step_ms);
    EXPECT_DOUBLE_EQ(told.ours_ms, predict_step_ms(layers, sending, compute, cluster, 8));
  }
}

TEST(PredictSteps, AddsWhatIsLeftOfTheAllreduce) {
  const StepCompute ours{.before_s = 0.01, .backward_s = 0.02, .after_s = 0.005};
  const StepCompute dense{.before_s = 0.03, .backward_s = 0.04, .after_s = 0.005};
  const Cluster cluster{.link = {.bytes_per_s = 1e6, .latency_s = 0}};
  const std::vector<std::int64_t> world_sizes{1, 2};
  const auto steps =
      predict_steps(kLayers, {.wire = WireType::fp32, .capacity = {}}, ours, dense, cluster, world_sizes);
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_NEAR(steps[0].ours_ms, 35, 1e-9);
  EXPECT_NEAR(steps[0].ddp_ms, 75, 1e-9);
  EXPECT_NEAR(steps[1].ours_ms, 35 + 1.6, 1e-9);
  EXPECT_NEAR(steps[1].ddp_ms, 75 + 1.6, 1e-9);
}

TEST(PredictSteps, DdpHasOneRingOfAllRanks) {
  const Cluster cluster{
      .link = {.bytes_per_s = 1e6, .latency_s = 0}, .ranks_per_node = 2, .node_bytes_per_s = 1e9};
  const std::vector<std::int64_t> world_sizes{4};
  const auto steps =
      predict_steps(kLayers, {.wire = WireType::fp32, .capacity = {}}, {}, {}, cluster, world_sizes);
  EXPECT_NEAR(steps[0].ours_ms, 1.6 + 0.096, 0.01);  // the agreement up and down a tree
  EXPECT_NEAR(steps[0].ddp_ms, 2.4, 0.01);
}

TEST(PredictSteps, DdpOnOneNodeDoesNotUseTheNetwork) {
  const Cluster cluster{
      .link = {.bytes_per_s = 1e3, .latency_s = 1}, .ranks_per_node = 4, .node_bytes_per_s = 1e6};
  const std::vector<std::int64_t> world_sizes{4};
  const auto steps =
      predict_steps(kLayers, {.wire = WireType::fp32, .capacity = {}}, {}, {}, cluster, world_sizes);
  EXPECT_NEAR(steps[0].ddp_ms, 2.4, 0.01);
}

TEST(PredictSteps, WaitForRanksToAgree) {
  const Cluster cluster{.link = {.bytes_per_s = 1e12, .latency_s = 1e-3}};
  const StepCompute compute{.before_s = 0.02, .backward_s = 0.01, .after_s = 0};
  const Sending sending{.wire = WireType::fp32, .capacity = {.bytes = 1'000'000}};
  const std::vector<BucketLoad> buckets = bucket_loads(kLayers, sending);
  ASSERT_EQ(buckets.size(), 1U);
  // The agreement waits for 2 ceil(log2 n) messages, which forward hides, or not, and the bucket for
  // 2 (n - 1).
  EXPECT_NEAR(predict_step_ms(kLayers, sending, compute, cluster, 6), 30 + 10, 1e-3);
  const StepCompute quick{.before_s = 0.002, .backward_s = 0.01, .after_s = 0};
  EXPECT_NEAR(predict_step_ms(kLayers, sending, quick, cluster, 101), 14 + 200, 1e-3);
}

TEST(ReadStepCompute, TakesTheLastLine) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "measured.json";
  std::ofstream(path)
      << "{\"forward_ms\": 1}\n"
      << R"({"plan_ms": 1, "gather_ms": 2, "forward_ms": 3, "backward_ms": 4, "exposed_comm_ms": 9, "optimizer_ms": 5})"
      << "\n\n";
  const StepCompute compute = read_step_compute(path);
  EXPECT_DOUBLE_EQ(compute.before_s, 0.006);
  EXPECT_DOUBLE_EQ(compute.backward_s, 0.004);
  EXPECT_DOUBLE_EQ(compute.after_s, 0.005);
}

TEST(ReadStepCompute, SaysWhatIsMissing) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "measured.json";
  expect_error_from([&] { (void)read_step_compute(path); }, ErrorKind::input, "can't be read");
  std::ofstream(path) << "nonsense\n";
  expect_error_from([&] { (void)read_step_compute(path); }, ErrorKind::input, "no JSON object");
  std::ofstream(path) << "{\"forward_ms\": 1}\n";
  expect_error_from([&] { (void)read_step_compute(path); }, ErrorKind::input, "backward_ms");
}

/// Of one large layer, of which a step sends a quarter.
const std::vector<LayerCost> kLarge{{.name = "layer",
                                     .numel = 1'000'000,
                                     .kept_numel = 1'000'000,
                                     .dense_numel = 4'000'000,
                                     .flops = 10,
                                     .dense_flops = 10}};
const Sending kLargeSending{.wire = WireType::bf16, .capacity = {}};

TEST(BreakEven, IsWhereBothStepsTakeEquallyLong) {
  const StepCompute dense{.before_s = 0.1, .backward_s = 0.1, .after_s = 0.01};
  StepCompute ours = dense;
  ours.after_s += 0.02;  // what it costs to save bytes
  const Cluster cluster{.link = {.bytes_per_s = 1, .latency_s = 0}};
  const BreakEven at = break_even(kLarge, kLargeSending, ours, dense, cluster, 2);
  ASSERT_EQ(at.kind, BreakEven::Kind::below);
  // All goes out after backward: 2 and 8 MB in a ring of two, which takes as long as their bytes.
  EXPECT_NEAR(at.gbit, (8e6 - 2e6) * 8 / 0.02 / 1e9, 0.02 * at.gbit);
}

TEST(BreakEven, IsNowhereWhereAStepIsAlwaysOrNeverFaster) {
  const StepCompute dense{.before_s = 0.1, .backward_s = 0.1, .after_s = 0.01};
  StepCompute ours = dense;
  ours.before_s = 0.05;
  EXPECT_EQ(break_even(kLarge, kLargeSending, ours, dense, {}, 4).kind, BreakEven::Kind::always);
  ours.before_s = 1e6;
  EXPECT_EQ(break_even(kLarge, kLargeSending, ours, dense, {}, 4).kind, BreakEven::Kind::never);
}

}  // namespace
}  // namespace slicereduce
