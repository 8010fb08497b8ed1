#include "sampling/indexed.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "sampling/column_norms.hpp"
#include "sampling/sliced_sgd.hpp"
#include "sampling/take_channels.hpp"
#include "tests/support/random_parameters.hpp"

// What serves other devices, run on the CPU beside the CPU's own kernels.
namespace slicereduce {
namespace {

using testing::RandomParameters;

TEST(Indexed, GathersWhatTheKernelsGather) {
  RandomParameters random(1);
  for (std::uint64_t step = 0; step < 5; ++step) {
    const PlacedPlan plan(random.random_plan(step), at::kCPU);
    for (const auto& parameter : random.parameters) {
      for (const auto dtype : {at::kFloat, at::kBFloat16}) {
        const at::Tensor expected =
            at::empty_like(testing::reference_slices(parameter.value, parameter.shape, plan.plan()), dtype);
        const at::Tensor leaf = at::ones_like(expected).set_requires_grad(true);
        gather_slices(parameter, plan, expected);
        indexed::gather_slices(parameter, plan, leaf);
        EXPECT_TRUE(at::equal(leaf, expected)) << parameter.shape.name;
      }
    }
  }
}

TEST(Indexed, ScattersWhatTheKernelsScatter) {
  RandomParameters random(2);
  const PlacedPlan plan(random.random_plan(1), at::kCPU);
  for (const auto& [shape, value] : random.parameters) {
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const at::Tensor flat = at::randn({shape.compact_numel(plan.plan())}).to(dtype);
      const at::Tensor dense = indexed::scatter_slices(shape, plan, flat);
      EXPECT_EQ(dense.scalar_type(), at::kFloat);
      EXPECT_TRUE(at::equal(dense, scatter_slices(shape, plan, flat))) << shape.name;
    }
  }
}

TEST(Indexed, FindsTheNormsOfTheKernels) {
  RandomParameters random(3);
  const auto norms = split_by_site(indexed::site_norms(random.sites, random.parameters), random.sites);
  const auto expected = site_norms(random.sites, random.parameters);
  ASSERT_EQ(norms.size(), expected.size());
  for (std::size_t site = 0; site < norms.size(); ++site) {
    ASSERT_EQ(norms[site].size(), expected[site].size());
    for (std::size_t channel = 0; channel < norms[site].size(); ++channel) {
      EXPECT_NEAR(norms[site][channel], expected[site][channel], 1e-5 * expected[site][channel]);
    }
  }
}

TEST(Indexed, UpdatesAsTheKernelsDo) {
  for (const bool nesterov : {false, true}) {
    for (const bool decay_vectors : {false, true}) {
      const SgdConfig config{
          .momentum = 0.9, .weight_decay = 0.05, .nesterov = nesterov, .decay_vectors = decay_vectors};
      RandomParameters random(4);
      RandomParameters same(4);
      SlicedSgd sgd(random.parameters, random.sites, config);
      std::vector<at::Tensor> momentum;
      for (const auto& parameter : same.parameters) {
        momentum.push_back(at::zeros_like(parameter.value));
      }
      for (std::uint64_t step = 0; step < 5; ++step) {
        const PlacedPlan plan(random.random_plan(step), at::kCPU);
        std::vector<Gradient> gradients;
        for (const auto& parameter : random.parameters) {
          gradients.push_back(at::randn({parameter.shape.compact_numel(plan.plan())}).to(at::kBFloat16));
        }
        sgd.apply(plan, gradients, 0.1);
        indexed::update(same.parameters, momentum, plan, gradients, {config, 0.1});
      }
      for (std::size_t p = 0; p < momentum.size(); ++p) {
        EXPECT_TRUE(at::allclose(same.parameters[p].value, random.parameters[p].value, 1e-5, 1e-6));
        EXPECT_TRUE(at::allclose(momentum[p], sgd.momentum()[p], 1e-5, 1e-6));
      }
    }
  }
}

TEST(Indexed, TakesAndGivesBackAsTheKernelsDo) {
  for (const std::vector<float>& scale : {std::vector<float>{}, std::vector<float>{0.5F, 2.0F, 3.0F}}) {
    const auto set = std::make_shared<const PlacedSet>(
        ChannelSet{.channels = 7, .kept = {1, 2, 6}, .scale = scale}, at::kCPU);
    for (const std::vector<std::int64_t>& sizes :
         {std::vector<std::int64_t>{2, 7, 4, 5}, std::vector<std::int64_t>{6, 7}}) {
      at::Tensor x = at::randn(sizes);
      if (x.dim() == 4) {
        x = x.contiguous(at::MemoryFormat::ChannelsLast);
      }
      const at::Tensor input = x.clone().requires_grad_(true);
      const auto [taken, passed] = take_and_pass(input, set);
      const at::Tensor by_index = indexed::take(x, *set);
      EXPECT_TRUE(at::equal(by_index, taken));
      EXPECT_EQ(by_index.strides(), taken.strides());

      const at::Tensor of_taken = at::randn_like(taken.detach());
      const at::Tensor of_passed = at::randn_like(x);
      ((taken * of_taken).sum() + (passed * of_passed).sum()).backward();
      EXPECT_TRUE(at::equal(indexed::give_back(of_taken, of_passed, *set), input.grad()));
      const at::Tensor lone = x.clone().requires_grad_(true);
      (take_channels(lone, set) * of_taken).sum().backward();
      EXPECT_TRUE(at::equal(indexed::give_back(of_taken, {}, *set), lone.grad()));
    }
  }
}

TEST(Indexed, KeepsBfloat16) {
  const PlacedSet set({.channels = 3, .kept = {0, 2}, .scale = {1.5F, 2.5F}}, at::kCPU);
  const at::Tensor x = at::randn({2, 3, 4, 4}).to(at::kBFloat16);
  EXPECT_EQ(indexed::take(x, set).scalar_type(), at::kBFloat16);
  EXPECT_EQ(indexed::give_back(indexed::take(x, set), x, set).scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace slicereduce
