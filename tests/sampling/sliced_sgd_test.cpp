#include "sampling/sliced_sgd.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "sampling/column_norms.hpp"
#include "tests/support/random_parameters.hpp"

namespace slicereduce {
namespace {

using testing::RandomParameters;

/// torch.optim.SGD's update, in float64, dense.
struct SlowSgd {
  at::Tensor w;
  at::Tensor m;

  void apply(const at::Tensor& gradient, double lr, const SgdConfig& config, bool decays) {
    const at::Tensor d = gradient + (decays ? config.weight_decay : 0.0) * w;
    m = config.momentum * m + d;
    w = w - lr * (config.nesterov ? d + config.momentum * m : m);
  }
};

void expect_follows_the_slow_one(const SgdConfig& config, at::ScalarType wire) {
  RandomParameters random(5);
  SlicedSgd sgd(random.parameters, random.sites, config);
  std::vector<SlowSgd> slow;
  for (const auto& parameter : random.parameters) {
    slow.push_back(
        {.w = parameter.value.to(at::kDouble).clone(), .m = at::zeros_like(parameter.value, at::kDouble)});
  }
  for (std::uint64_t step = 0; step < 10; ++step) {
    const Plan plan = random.random_plan(step);
    std::vector<Gradient> gradients;
    for (std::size_t p = 0; p < random.parameters.size(); ++p) {
      const auto& shape = random.parameters[p].shape;
      gradients.push_back(at::randn({shape.compact_numel(plan)}, random.generator).to(wire));
      const at::Tensor dense = scatter_slices(shape, PlacedPlan(plan, at::kCPU), gradients.back().values);
      slow[p].apply(dense.to(at::kDouble), 0.1, config, config.decay_vectors || !shape.vector);
    }
    sgd.apply(PlacedPlan(plan, at::kCPU), gradients, 0.1);
  }
  for (std::size_t p = 0; p < random.parameters.size(); ++p) {
    EXPECT_TRUE(at::allclose(random.parameters[p].value.to(at::kDouble), slow[p].w, 1e-5, 1e-5));
    EXPECT_TRUE(at::allclose(sgd.momentum()[p].to(at::kDouble), slow[p].m, 1e-5, 1e-5));
  }
}

/// Rows and columns of every parameter are cut; matrices come as factors of rank 3.
TEST(SlicedSgd, TakesFactorsAsTheirProduct) {
  const SgdConfig config{.momentum = 0.9, .weight_decay = 0.05, .nesterov = true};
  RandomParameters random(5);
  RandomParameters same(5);
  SlicedSgd by_factors(random.parameters, random.sites, config);
  SlicedSgd by_numbers(same.parameters, same.sites, config);
  for (std::uint64_t step = 0; step < 3; ++step) {
    const Plan plan = random.random_plan(step);
    std::vector<Gradient> factors;
    std::vector<Gradient> numbers;
    for (const auto& parameter : random.parameters) {
      const auto sizes = parameter.shape.compact_sizes(plan);
      const std::int64_t rows = sizes.size() == 1 ? 1 : sizes[0];
      factors.emplace_back(at::randn({3, rows}, random.generator),
                           at::randn({3, parameter.shape.compact_numel(plan) / rows}, random.generator));
      numbers.emplace_back(factors.back().dense());
    }
    by_factors.apply(PlacedPlan(plan, at::kCPU), factors, 0.1);
    by_numbers.apply(PlacedPlan(plan, at::kCPU), numbers, 0.1);
  }
  for (std::size_t p = 0; p < random.parameters.size(); ++p) {
    EXPECT_TRUE(random.parameters[p].value.equal(same.parameters[p].value)) << p;
    EXPECT_TRUE(by_factors.momentum()[p].equal(by_numbers.momentum()[p])) << p;
  }
}

/// From the last parameter to the first, as gradients arrive, one or two at a time.
TEST(SlicedSgd, AStepInPartsIsAStep) {
  const SgdConfig config{.momentum = 0.9, .weight_decay = 0.05, .nesterov = true};
  RandomParameters random(5);
  RandomParameters same(5);
  SlicedSgd at_once(random.parameters, random.sites, config);
  SlicedSgd in_parts(same.parameters, same.sites, config);
  for (std::uint64_t step = 0; step < 3; ++step) {
    const Plan plan = random.random_plan(step);
    std::vector<Gradient> gradients;
    for (const auto& parameter : random.parameters) {
      gradients.push_back(at::randn({parameter.shape.compact_numel(plan)}, random.generator));
    }
    at_once.apply(PlacedPlan(plan, at::kCPU), gradients, 0.1);
    for (std::size_t end = gradients.size(), count = 1; end > 0;
         end -= count, count = std::min(end, count ^ 3)) {
      in_parts.update(end - count, std::span(same.parameters).subspan(end - count, count),
                      PlacedPlan(plan, at::kCPU), std::span(gradients).subspan(end - count, count), 0.1);
    }
    in_parts.end_step();
  }
  for (std::size_t p = 0; p < random.parameters.size(); ++p) {
    EXPECT_TRUE(random.parameters[p].value.equal(same.parameters[p].value)) << p;
    EXPECT_TRUE(at_once.momentum()[p].equal(in_parts.momentum()[p])) << p;
  }
  EXPECT_EQ(at_once.norms(), in_parts.norms());
}

TEST(SlicedSgd, FollowsDenseSgdOnScatteredGradients) {
  for (const bool nesterov : {false, true}) {
    for (const bool decay_vectors : {false, true}) {
      const SgdConfig config{
          .momentum = 0.9, .weight_decay = 0.05, .nesterov = nesterov, .decay_vectors = decay_vectors};
      expect_follows_the_slow_one(config, at::kFloat);
    }
  }
}

TEST(SlicedSgd, ReadsTheWireTypes) {
  expect_follows_the_slow_one({}, at::kBFloat16);
  expect_follows_the_slow_one({}, at::kHalf);
}

TEST(SlicedSgd, WeightsOutsideTheSlicesDecayAndCoast) {
  RandomParameters random(6);
  const SgdConfig config{.momentum = 0.5, .weight_decay = 0.1, .nesterov = false, .decay_vectors = true};
  SlicedSgd sgd(random.parameters, random.sites, config);
  Plan plan = Plan::full(random.sites);
  plan.sets[0].kept.resize(1);                     // channel 0 alone
  const auto& shape = random.parameters[4].shape;  // fc reads site a
  const auto before = random.parameters[4].value[0][5].item<double>();
  std::vector<Gradient> gradients;
  for (const auto& parameter : random.parameters) {
    gradients.push_back(at::ones({parameter.shape.compact_numel(plan)}));
  }
  EXPECT_EQ(gradients[4].numel(), shape.rows());
  sgd.apply(PlacedPlan(plan, at::kCPU), gradients, 1.0);
  EXPECT_NEAR(random.parameters[4].value[0][5].item<double>(), before - 0.1 * before, 1e-6);
  sgd.apply(PlacedPlan(plan, at::kCPU), gradients, 1.0);
  // m = 0.5 * (0.1 w0) + 0.1 w1, w2 = w1 - m with w1 = 0.9 w0
  EXPECT_NEAR(random.parameters[4].value[0][5].item<double>(), before * (0.9 - 0.05 - 0.09), 1e-6);
}

TEST(SlicedSgd, YieldsExactlyTheNormsThatAFreshStartWouldCompute) {
  RandomParameters random(7);
  SlicedSgd sgd(random.parameters, random.sites, {});
  const Plan plan = random.random_plan(1);
  std::vector<Gradient> gradients;
  for (const auto& parameter : random.parameters) {
    gradients.push_back(at::randn({parameter.shape.compact_numel(plan)}, random.generator));
  }
  sgd.apply(PlacedPlan(plan, at::kCPU), gradients, 0.1);
  EXPECT_EQ(sgd.norms(), site_norms(random.sites, random.parameters));
}

TEST(SlicedSgd, ReadsALiveRate) {
  RandomParameters random(10);
  RandomParameters same(10);
  SlicedSgd sgd(random.parameters, random.sites, {});
  SlicedSgd expected(same.parameters, same.sites, {});
  const PlacedPlan plan(random.random_plan(1), at::kCPU);
  std::vector<Gradient> gradients;
  for (const auto& parameter : random.parameters) {
    gradients.push_back(at::randn({parameter.shape.compact_numel(plan.plan())}, random.generator));
  }
  const LiveRate rate{.lr = at::full({1}, 0.3F), .goes = at::ones({1}, at::kInt)};
  const auto expect_same = [&] {
    for (std::size_t p = 0; p < random.parameters.size(); ++p) {
      EXPECT_TRUE(at::equal(random.parameters[p].value, same.parameters[p].value));
      EXPECT_TRUE(at::equal(sgd.momentum()[p], expected.momentum()[p]));
    }
    EXPECT_EQ(sgd.norms(), expected.norms());
    EXPECT_EQ(split_by_site(sgd.norms_in_place(), random.sites), expected.norms());
  };
  sgd.update(0, random.parameters, plan, gradients, rate);
  sgd.end_step();
  expected.apply(plan, gradients, 0.3F);
  expect_same();
  rate.goes.zero_();
  sgd.update(0, random.parameters, plan, gradients, rate);
  sgd.end_step();
  expect_same();
}

TEST(SlicedSgd, GivesTheSameBitsOnAnyNumberOfThreads) {
  std::vector<std::vector<at::Tensor>> results;
  std::vector<std::vector<std::vector<float>>> norms;
  const int threads = at::get_num_threads();
  for (const int count : {1, 4}) {
    at::set_num_threads(count);
    RandomParameters random(8);
    SlicedSgd sgd(random.parameters, random.sites, {});
    const Plan plan = random.random_plan(0);
    std::vector<Gradient> gradients;
    for (const auto& parameter : random.parameters) {
      gradients.push_back(at::randn({parameter.shape.compact_numel(plan)}, random.generator));
    }
    sgd.apply(PlacedPlan(plan, at::kCPU), gradients, 0.1);
    norms.push_back(sgd.norms());
    auto& values = results.emplace_back();
    for (const auto& parameter : random.parameters) {
      values.push_back(parameter.value);
    }
  }
  at::set_num_threads(threads);
  EXPECT_EQ(norms[0], norms[1]);
  for (std::size_t p = 0; p < results[0].size(); ++p) {
    EXPECT_TRUE(at::equal(results[0][p], results[1][p]));
  }
}

TEST(SlicedSgd, RefusesAGradientOfAnotherPlan) {
  RandomParameters random(9);
  SlicedSgd sgd(random.parameters, random.sites, {});
  std::vector<Gradient> gradients;
  for (const auto& parameter : random.parameters) {
    gradients.push_back(at::zeros({parameter.shape.numel()}));
  }
  EXPECT_THROW(sgd.apply(PlacedPlan(random.random_plan(0), at::kCPU), gradients, 0.1), Error);
}

TEST(SlicedSgd, RefusesWeightsInAnotherOrder) {
  RandomParameters random(9);
  random.parameters[0].value = random.parameters[0].value.contiguous();
  EXPECT_THROW(SlicedSgd(random.parameters, random.sites, {}), Error);
}

TEST(SgdConfig, RefusesWhatIsNoMomentum) {
  EXPECT_THROW((SgdConfig{.momentum = 1.0}.validate()), Error);
  EXPECT_THROW((SgdConfig{.momentum = -0.1}.validate()), Error);
  EXPECT_THROW((SgdConfig{.weight_decay = -1}.validate()), Error);
  EXPECT_THROW((SgdConfig{.momentum = 0, .nesterov = true}.validate()), Error);
}

}  // namespace
}  // namespace slicereduce
