#include "models/network.hpp"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>

#include "core/error.hpp"
#include "sampling/memory_order.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/tiny_network.hpp"

namespace slicereduce {
namespace {

using testing::layout_of;
using testing::random_images;
using testing::random_plan;
using testing::shake_norms;

struct Outcome {
  at::Tensor logits;
  std::vector<at::Tensor> gradients;  // dense, zero where the plan leaves something out
};

Outcome run(const Network& network, const Plan& plan, const at::Tensor& images, NormStatistics& statistics) {
  CompactNetwork compact;
  network.gather(plan, Precision::fp32, compact);
  const at::Tensor logits = network.forward(compact, images, statistics, {});
  logits.square().sum().backward();
  Outcome outcome{.logits = logits.detach(), .gradients = {}};
  for (std::size_t p = 0; p < compact.leaves.size(); ++p) {
    const at::Tensor gradient = compact.leaves[p].grad();
    outcome.gradients.push_back(scatter_slices(network.layout().parameters[p], compact.plan, gradient));
  }
  return outcome;
}

void expect_close(const at::Tensor& a, const at::Tensor& b, double relative, const std::string& what) {
  EXPECT_LE((a - b).norm().item<double>(), relative * (b.norm().item<double>() + 1e-12)) << what;
}

void expect_coupled_equals_uncoupled(const std::string& arch, const std::string& sampler) {
  Network coupled(layout_of(arch, Coupling::block), 1);
  Network uncoupled(layout_of(arch, Coupling::none), 1);
  at::manual_seed(4);
  shake_norms(coupled);
  for (std::size_t p = 0; p < coupled.parameters().size(); ++p) {
    uncoupled.parameters()[p].value.copy_(coupled.parameters()[p].value);
  }
  const Plan plan = random_plan(coupled.layout(), 2, sampler);
  const at::Tensor images = random_images(4, coupled.layout().architecture.image_side.value_or(32));
  NormStatistics first = NormStatistics::initial(coupled.layout());
  NormStatistics second = first.clone();
  const Outcome a = run(coupled, plan, images, first);
  const Outcome b = run(uncoupled, plan, images, second);
  expect_close(a.logits, b.logits, 1e-4, arch + " logits");
  double largest = 0;
  for (const at::Tensor& gradient : b.gradients) {
    largest = std::max(largest, gradient.norm().item<double>());
  }
  for (std::size_t p = 0; p < a.gradients.size(); ++p) {
    // The rows that coupling leaves out have a gradient of exactly zero in the uncoupled network too. A bias
    // before batch norm has none but rounding.
    EXPECT_LE((a.gradients[p] - b.gradients[p]).norm().item<double>(),
              2e-3 * b.gradients[p].norm().item<double>() + 1e-6 * largest)
        << arch << ' ' << coupled.layout().parameters[p].name;
  }
}

TEST(Network, CoupledEqualsUncoupledOnTheSameSets) {
  expect_coupled_equals_uncoupled("resnet18", "uniform");
  expect_coupled_equals_uncoupled("resnet50", "uniform");
  expect_coupled_equals_uncoupled("resnet20", "uniform");
  expect_coupled_equals_uncoupled("wrn-10-2", "uniform");
  expect_coupled_equals_uncoupled("mlp-3x50", "uniform");
  expect_coupled_equals_uncoupled("cnn", "uniform");
}

TEST(Network, CoupledEqualsUncoupledWithScaledSamplers) {
  expect_coupled_equals_uncoupled("resnet18", "proportional");
  expect_coupled_equals_uncoupled("resnet20", "bernoulli");
  expect_coupled_equals_uncoupled("wrn-10-2", "proportional");
  expect_coupled_equals_uncoupled("mlp-3x50", "bernoulli");
  expect_coupled_equals_uncoupled("cnn", "proportional");
}

TEST(Network, LeavesThatShareMemoryComputeWhatCopiesCompute) {
  Network network(layout_of("resnet20"), 3);
  const at::Tensor images = random_images(2, 16);
  CompactNetwork shared;
  network.gather(Plan::full(network.layout().sites), Precision::fp32, shared);
  CompactNetwork copied = shared;
  for (auto& leaf : copied.leaves) {
    leaf = leaf.detach().clone().set_requires_grad(true);
  }
  NormStatistics statistics = network.statistics().clone();
  EXPECT_TRUE(at::equal(network.forward(shared, images, statistics, {}),
                        network.forward(copied, images, statistics, {})));
}

TEST(Network, GatherNeverWritesIntoTheDenseWeights) {
  Network network(layout_of("resnet20"), 3);
  const std::uint64_t before = network.weights_digest();
  CompactNetwork compact;
  network.gather(Plan::full(network.layout().sites), Precision::fp32, compact);  // leaves share memory
  network.gather(random_plan(network.layout(), 1), Precision::fp32, compact);    // leaves of their own
  network.gather(random_plan(network.layout(), 2), Precision::fp32, compact);    // the same ones again
  network.gather(Plan::full(network.layout().sites), Precision::bf16, compact);
  network.gather(Plan::full(network.layout().sites), Precision::fp32, compact);
  network.gather(random_plan(network.layout(), 3), Precision::fp32, compact);
  EXPECT_EQ(network.weights_digest(), before);
}

TEST(NormStatistics, AreCopiedToWhereTheyAre) {
  Network network(layout_of("resnet20"), 3);
  NormStatistics other = network.statistics().clone();
  other.mean[1].fill_(3);
  other.variance[2].fill_(5);
  const at::Tensor mean = network.statistics().mean[1];
  const at::Tensor variance = network.statistics().variance[2];
  network.statistics().copy_from(other);
  EXPECT_TRUE(mean.is_same(network.statistics().mean[1]));
  EXPECT_TRUE(at::equal(mean, at::full_like(mean, 3)));
  EXPECT_TRUE(at::equal(variance, at::full_like(variance, 5)));
}

TEST(Network, LeavesAndTheirGradientsLieInMemoryOrder) {
  Network network(layout_of("resnet18"), 3);
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    for (const Plan& plan : {Plan::full(network.layout().sites), random_plan(network.layout(), 1)}) {
      CompactNetwork compact;
      network.gather(plan, precision, compact);
      NormStatistics statistics = network.statistics().clone();
      network.forward(compact, random_images(2, 64), statistics, {}).sum().backward();
      for (const at::Tensor& leaf : compact.leaves) {
        EXPECT_NO_THROW((void)in_memory_order(leaf.detach()));
        EXPECT_NO_THROW((void)in_memory_order(leaf.grad()));
      }
    }
  }
}

TEST(Network, StatisticsOutsideTheSetsStayAsTheyAre) {
  Network network(layout_of("resnet18"), 3);
  const Plan plan = random_plan(network.layout(), 1);
  CompactNetwork compact;
  network.gather(plan, Precision::fp32, compact);
  NormStatistics statistics = NormStatistics::initial(network.layout());
  (void)network.forward(compact, random_images(2, 32), statistics, {});
  for (std::size_t i = 0; i < network.layout().statistics.size(); ++i) {
    const auto& norm = network.layout().statistics[i];
    const auto moved = statistics.mean[i].count_nonzero().item<std::int64_t>();
    EXPECT_EQ(moved, norm.site ? plan.sets[*norm.site].size() : norm.channels) << norm.name;
  }
}

TEST(Network, EvaluationDoesNotMoveStatistics) {
  Network network(layout_of("resnet20"), 3);
  CompactNetwork compact;
  network.gather(random_plan(network.layout(), 1), Precision::fp32, compact);
  NormStatistics statistics = network.statistics().clone();
  (void)network.forward(compact, random_images(2, 16), statistics, {.batch_statistics = false});
  for (std::size_t i = 0; i < statistics.mean.size(); ++i) {
    EXPECT_TRUE(at::equal(statistics.mean[i], network.statistics().mean[i]));
    EXPECT_TRUE(at::equal(statistics.variance[i], network.statistics().variance[i]));
  }
}

TEST(Network, Bf16StaysNearFp32) {
  Network network(layout_of("resnet18"), 3);
  const Plan plan = random_plan(network.layout(), 1);
  const at::Tensor images = random_images(8, 32);
  CompactNetwork exact;
  CompactNetwork lowered;
  network.gather(plan, Precision::fp32, exact);
  network.gather(plan, Precision::bf16, lowered);
  EXPECT_EQ(lowered.leaves[0].scalar_type(), at::kBFloat16);
  EXPECT_EQ(lowered.leaves[1].scalar_type(), at::kFloat);  // batch norm's
  NormStatistics statistics = network.statistics().clone();
  const at::Tensor a = network.forward(exact, images, statistics, {});
  const at::Tensor b = network.forward(lowered, images, statistics, {});
  EXPECT_EQ(b.scalar_type(), at::kFloat);
  expect_close(b, a, 0.1, "bf16 logits");
}

/// A scale of its own in bf16 would be off in the same direction for all of a channel: this one would be 1.
TEST(Network, Bf16IsRoundedAfterItIsScaled) {
  const Network network(layout_of("resnet20"), 3);
  Plan plain = random_plan(network.layout(), 1);
  Plan scaled = plain;
  for (auto& set : scaled.sets) {
    set.scale.assign(static_cast<std::size_t>(set.size()), 1.003F);
  }
  const at::Tensor images = random_images(2, 16);
  const auto logits = [&](const Plan& plan, Precision precision) {
    CompactNetwork compact;
    network.gather(plan, precision, compact);
    NormStatistics statistics = network.statistics().clone();
    return network.forward(compact, images, statistics, {.batch_statistics = false});
  };
  EXPECT_FALSE(at::equal(logits(plain, Precision::bf16), logits(scaled, Precision::bf16)));
}

TEST(Network, AVarianceOfOneValueIsRefused) {
  const Network network(layout_of("resnet18"), 3);
  CompactNetwork compact;
  network.gather(Plan::full(network.layout().sites), Precision::fp32, compact);
  NormStatistics statistics = network.statistics().clone();
  testing::expect_error_from([&] { (void)network.forward(compact, random_images(1, 32), statistics, {}); },
                             ErrorKind::usage, "--batch-size");
  EXPECT_NO_THROW(
      (void)network.forward(compact, random_images(1, 32), statistics, {.batch_statistics = false}));
}

TEST(Network, StartsFromItsSeed) {
  const Layout layout = layout_of("resnet20");
  EXPECT_EQ(Network(layout, 5).weights_digest(), Network(layout, 5).weights_digest());
  EXPECT_NE(Network(layout, 5).weights_digest(), Network(layout, 6).weights_digest());
}

TEST(Network, OneInfiniteWeightIsFound) {
  const Network network(layout_of("resnet20"), 5);
  EXPECT_TRUE(network.is_finite());
  network.values()[1].view({-1})[0] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(network.is_finite());
}

at::Tensor logits_with(const Network& network, const std::optional<DrawKey>& draws) {
  CompactNetwork compact;
  network.gather(Plan::full(network.layout().sites), Precision::fp32, compact);
  NormStatistics statistics = network.statistics().clone();
  at::manual_seed(9);
  const at::Tensor images = random_images(4, 28);
  return network.forward(compact, images, statistics, {.draws = draws}).detach();
}

TEST(Network, DropsTheSameForTheSameKeyAndNothingWithoutOne) {
  for (const auto* arch : {"wrn-10-2", "mlp-3x50", "cnn"}) {
    const auto network_of = [&](double dropout) {
      return std::make_unique<Network>(
          make_layout(make_architecture(arch, 3, 10, dropout), Coupling::block, false), 3);
    };
    const auto dropping = network_of(0.3);
    const at::Tensor once = logits_with(*dropping, DrawKey{.seed = 1, .step = 2, .part = 3});
    EXPECT_TRUE(at::equal(once, logits_with(*dropping, DrawKey{.seed = 1, .step = 2, .part = 3}))) << arch;
    EXPECT_FALSE(at::equal(once, logits_with(*dropping, DrawKey{.seed = 1, .step = 3, .part = 3}))) << arch;
    EXPECT_TRUE(at::equal(logits_with(*dropping, {}), logits_with(*network_of(0), {}))) << arch;
  }
}

/// With half of all features dropped, what is left is doubled: the mean over many masks is what it was.
TEST(Network, DropoutKeepsTheMean) {
  const Network network(make_layout(make_architecture("mlp-2x50", 3, 10, 0.5), Coupling::block, false), 3);
  const at::Tensor expected = logits_with(network, {});
  at::Tensor sum = at::zeros_like(expected);
  at::Tensor squares = at::zeros_like(expected);
  constexpr int kMasks = 2000;
  for (std::uint64_t step = 0; step < kMasks; ++step) {
    const at::Tensor logits = logits_with(network, DrawKey{.seed = 1, .step = step, .part = 0});
    sum += logits;
    squares += (logits - expected).square();
  }
  const at::Tensor error = (squares / kMasks / kMasks).sqrt();
  EXPECT_LT(((sum / kMasks - expected).abs() / error).max().item<double>(), 5);
}

TEST(Network, SampledClassifierReadsItsChannelsAlone) {
  Network network(layout_of("resnet20", Coupling::block, true), 3);
  Plan plan = Plan::full(network.layout().sites);
  plan.sets[*network.layout().classifier_site].kept = {3, 40};
  CompactNetwork compact;
  network.gather(plan, Precision::fp32, compact);
  EXPECT_EQ(compact.leaves[network.layout().classifier_weight].size(1), 2);
  NormStatistics statistics = network.statistics().clone();
  EXPECT_EQ(network.forward(compact, random_images(2, 16), statistics, {}).size(1), 10);
}

TEST(Precision, RoundTripsItsNames) {
  EXPECT_EQ(parse_precision(to_string(Precision::bf16)), Precision::bf16);
  EXPECT_EQ(parse_precision(to_string(Precision::fp32)), Precision::fp32);
  EXPECT_THROW((void)parse_precision("fp8"), Error);
}

}  // namespace
}  // namespace slicereduce
