#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "sampling/column_norms.hpp"
#include "sampling/device_slices.hpp"
#include "sampling/sliced_sgd.hpp"
#include "sampling/take_channels.hpp"
#include "tests/support/random_parameters.hpp"

/// What kernels do on a device, against what the CPU's own loops do: the same bits, but for the order of a
/// norm's sum.
namespace slicereduce::testing {

inline std::vector<SlicedParameter> on_device(const std::vector<SlicedParameter>& parameters,
                                              at::Device device) {
  std::vector<SlicedParameter> placed;
  for (const auto& [shape, value] : parameters) {
    placed.push_back({.shape = shape, .value = value.to(device, value.scalar_type(), false, /*copy=*/true)});
  }
  return placed;
}

inline void expect_gathers(at::Device device) {
  RandomParameters random(11);
  const auto placed = on_device(random.parameters, device);
  for (std::uint64_t step = 0; step < 6; ++step) {
    // The last one leaves nothing out.
    const Plan plan = step < 5 ? random.random_plan(step) : Plan::full(random.sites);
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      std::vector<at::Tensor> expected;
      std::vector<at::Tensor> leaves;
      for (const auto& parameter : random.parameters) {
        const auto sizes = parameter.shape.compact_sizes(plan);
        const auto options = at::TensorOptions(type).memory_format(memory_format_of(sizes));
        expected.push_back(at::empty(sizes, options));
        gather_slices(parameter, PlacedPlan(plan, at::kCPU), expected.back());
        leaves.push_back(at::empty(sizes, options.device(device)).fill_(-7).set_requires_grad(true));
      }
      kernels::gather_slices(placed, PlacedPlan(plan, device), leaves);
      for (std::size_t p = 0; p < leaves.size(); ++p) {
        EXPECT_TRUE(at::equal(leaves[p].cpu(), expected[p])) << placed[p].shape.name << ", step " << step;
      }
    }
  }
}

/// A leaf that is its weight must stay as it is, and not be written through.
inline void expect_leaves_shared_memory_alone(at::Device device) {
  RandomParameters random(12);
  const auto placed = on_device(random.parameters, device);
  std::vector<at::Tensor> leaves;
  for (const auto& parameter : placed) {
    leaves.push_back(parameter.value.detach());
  }
  kernels::gather_slices(placed, PlacedPlan(random.random_plan(0), device), leaves);
  for (std::size_t p = 0; p < placed.size(); ++p) {
    EXPECT_TRUE(at::equal(placed[p].value.cpu(), random.parameters[p].value));
  }
}

inline void expect_near(const std::vector<std::vector<float>>& norms,
                        const std::vector<std::vector<float>>& expected) {
  ASSERT_EQ(norms.size(), expected.size());
  for (std::size_t site = 0; site < norms.size(); ++site) {
    ASSERT_EQ(norms[site].size(), expected[site].size());
    for (std::size_t channel = 0; channel < norms[site].size(); ++channel) {
      EXPECT_NEAR(norms[site][channel], expected[site][channel], 1e-6 * expected[site][channel]);
    }
  }
}

struct UpdateCase {
  at::ScalarType gradient = at::kFloat;
  bool nesterov = false;
  bool decay_vectors = true;
};

inline void expect_updates(at::Device device, const UpdateCase& c) {
  const SgdConfig config{
      .momentum = 0.9, .weight_decay = 0.05, .nesterov = c.nesterov, .decay_vectors = c.decay_vectors};
  RandomParameters random(13);
  const auto placed = on_device(random.parameters, device);
  std::vector<at::Tensor> momentum;
  for (const auto& parameter : placed) {
    momentum.push_back(at::zeros_like(parameter.value));
  }
  SlicedSgd expected(random.parameters, random.sites, config);
  const auto passes = kernels::make_weight_passes(placed, momentum);
  expect_near(split_by_site(passes->norms(random.sites, placed), random.sites), expected.norms());
  for (std::uint64_t step = 0; step < 6; ++step) {
    const Plan plan = step < 5 ? random.random_plan(step) : Plan::full(random.sites);
    std::vector<Gradient> gradients;
    std::vector<Gradient> there;
    for (const auto& parameter : random.parameters) {
      const std::int64_t numel = parameter.shape.compact_numel(plan);
      gradients.emplace_back(at::randn({numel}, random.generator).to(c.gradient));
      // Some still in host memory, as buckets are.
      const bool stays = there.size() % 2 == 0;
      there.emplace_back(stays ? gradients.back().values : gradients.back().values.to(device));
    }
    expected.apply(PlacedPlan(plan, at::kCPU), gradients, 0.1);
    // In two parts, as gradients come back.
    constexpr std::size_t kFirst = 2;
    const PlacedPlan plan_there(plan, device);
    const auto part = [&](std::size_t first, std::size_t count) {
      passes->update(first, std::span(placed).subspan(first, count), plan_there,
                     std::span(there).subspan(first, count), {config, 0.1});
    };
    part(kFirst, placed.size() - kFirst);
    part(0, kFirst);
    for (std::size_t p = 0; p < placed.size(); ++p) {
      EXPECT_TRUE(at::equal(placed[p].value.cpu(), random.parameters[p].value)) << placed[p].shape.name;
      EXPECT_TRUE(at::equal(momentum[p].cpu(), expected.momentum()[p])) << placed[p].shape.name;
    }
    expect_near(split_by_site(passes->norms(random.sites, placed), random.sites), expected.norms());
  }
}

inline void expect_updates(at::Device device) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    expect_updates(device, {.gradient = type});
  }
  expect_updates(device, {.nesterov = true});
  expect_updates(device, {.decay_vectors = false});
}

inline void expect_renews_squares(at::Device device) {
  RandomParameters random(14);
  const auto placed = on_device(random.parameters, device);
  std::vector<at::Tensor> momentum;
  for (const auto& parameter : placed) {
    momentum.push_back(at::zeros_like(parameter.value));
  }
  const auto passes = kernels::make_weight_passes(placed, momentum);
  for (const auto& parameter : placed) {
    parameter.value.mul_(3);
  }
  passes->refresh();
  for (auto& parameter : random.parameters) {
    parameter.value.mul_(3);
  }
  expect_near(split_by_site(passes->norms(random.sites, placed), random.sites),
              site_norms(random.sites, random.parameters));
}

/// What is read when the update runs, in the place of a rate that is known before.
inline void expect_live_rate(at::Device device) {
  const SgdConfig config{.momentum = 0.9, .weight_decay = 0.05};
  RandomParameters random(15);
  const auto placed = on_device(random.parameters, device);
  std::vector<at::Tensor> momentum;
  std::vector<Gradient> gradients;
  std::vector<Gradient> there;
  const Plan plan = random.random_plan(1);
  for (const auto& [shape, value] : placed) {
    momentum.push_back(at::zeros_like(value));
    gradients.emplace_back(at::randn({shape.compact_numel(plan)}, random.generator));
    there.emplace_back(gradients.back().values.to(device));
  }
  SlicedSgd expected(random.parameters, random.sites, config);
  const auto passes = kernels::make_weight_passes(placed, momentum);
  const LiveRate rate{.lr = at::empty({1}, placed.front().value.options()),
                      .goes = at::ones({1}, at::TensorOptions(device).dtype(at::kInt))};
  for (const double lr : {0.1, 0.01, -1.0, 0.2}) {
    rate.lr.fill_(lr);
    rate.goes.fill_(lr > 0 ? 1 : 0);
    passes->update(0, placed, PlacedPlan(plan, device), there, {config, 0, &rate});
    if (lr > 0) {
      expected.apply(PlacedPlan(plan, at::kCPU), gradients, lr);
    }
    for (std::size_t p = 0; p < placed.size(); ++p) {
      EXPECT_TRUE(at::equal(placed[p].value.cpu(), random.parameters[p].value)) << lr;
      EXPECT_TRUE(at::equal(momentum[p].cpu(), expected.momentum()[p])) << lr;
    }
    expect_near(split_by_site(passes->norms(random.sites, placed), random.sites), expected.norms());
  }
}

/// Random norms, many of them equal, of sites from one channel to several blocks of threads.
inline void expect_keeps_largest(at::Device device) {
  const std::vector<std::int64_t> channels{1, 5, 64, 700, 2048};
  const std::vector<std::int64_t> kept{1, 2, 64, 123, 512};
  const auto topk = make_sampler("topk");
  for (std::uint64_t draw = 0; draw < 4; ++draw) {
    const at::Generator generator = at::detail::createCPUGenerator(draw);
    std::vector<std::vector<float>> norms;
    std::vector<std::int64_t> expected;
    for (std::size_t site = 0; site < channels.size(); ++site) {
      const at::Tensor random =
          at::randn({channels[site]}, generator).abs().mul(draw == 0 ? 1000 : 3).round();
      norms.emplace_back(random.const_data_ptr<float>(), random.const_data_ptr<float>() + random.numel());
      RandomStream unused(0, RandomPurpose::plan, 0, 0);
      const SampleSize size{.ratio = 1e-9, .minimal_k = kept[site], .channel_multiple = 1};
      const ChannelSet set = topk->draw({.norms = norms.back(), .waiting = {}}, size, unused);
      expected.insert(expected.end(), set.kept.begin(), set.kept.end());
    }
    const auto total = static_cast<std::int64_t>(expected.size());
    const at::Tensor indices = at::full({total}, -1, at::TensorOptions(device).dtype(at::kLong));
    kernels::keep_largest(joined(norms).to(device), channels, kept, indices);
    EXPECT_TRUE(at::equal(indices.cpu(), at::tensor(expected)));
  }
}

/// Whatever they are: a step with such norms is thrown away, but it must not read or write elsewhere.
inline void expect_keeps_something_of_what_is_no_number(at::Device device) {
  at::Tensor norms = at::rand({40});
  norms.slice(0, 3, 30, 2).fill_(std::numeric_limits<float>::quiet_NaN());
  const std::vector<std::int64_t> channels{40};
  const std::vector<std::int64_t> kept{10};
  const at::Tensor indices = at::full({10}, -1, at::TensorOptions(device).dtype(at::kLong));
  kernels::keep_largest(norms.to(device), channels, kept, indices);
  const at::Tensor here = indices.cpu();
  EXPECT_TRUE(here.ge(0).logical_and(here.lt(40)).all().item<bool>());
  EXPECT_TRUE(here.diff().gt(0).all().item<bool>());
}

/// Pixels and channels that fill packs, and some that don't.
inline void expect_takes_and_gives_back(at::Device device) {
  const std::vector<std::int32_t> eight{0, 3, 4, 9, 10, 11, 17, 23};
  const std::vector<float> factors{0.5F, 2.0F, 3.0F, 0.25F, 1.0F, 1.5F, 7.0F, 0.1F};
  for (const std::int64_t count : {8, 5}) {
    for (const bool scaled : {false, true}) {
      ChannelSet channels{.channels = 24, .kept = {eight.begin(), eight.begin() + count}, .scale = {}};
      if (scaled) {
        channels.scale.assign(factors.begin(), factors.begin() + count);
      }
      const PlacedSet there(channels, device);
      const auto here = std::make_shared<const PlacedSet>(channels, at::kCPU);
      for (const std::vector<std::int64_t>& sizes :
           {std::vector<std::int64_t>{2, 24, 5, 3}, std::vector<std::int64_t>{7, 24}}) {
        for (const auto type : {at::kFloat, at::kBFloat16}) {
          const at::Tensor x = at::randn(sizes).to(type).contiguous(memory_format_of(sizes));
          const at::Tensor input = x.clone().requires_grad_(true);
          const auto [taken, passed] = take_and_pass(input, here);
          const at::Tensor by_kernel = kernels::take(x.to(device), there);
          EXPECT_TRUE(at::equal(by_kernel.cpu(), taken));
          EXPECT_EQ(by_kernel.strides(), taken.strides());

          const at::Tensor of_taken = at::randn_like(taken.detach());
          const at::Tensor of_passed = at::randn_like(x);
          ((taken * of_taken).sum() + (passed * of_passed).sum()).backward();
          EXPECT_TRUE(at::equal(kernels::give_back(of_taken.to(device), of_passed.to(device), there).cpu(),
                                input.grad()));
          const at::Tensor lone = x.clone().requires_grad_(true);
          take_channels(lone, here).backward(of_taken);
          EXPECT_TRUE(at::equal(kernels::give_back(of_taken.to(device), {}, there).cpu(), lone.grad()));
        }
      }
    }
  }
}

/// Pixels and channels that fill packs, and some that don't.
inline void expect_sums_and_takes(at::Device device) {
  for (const std::int64_t channels : {24, 21}) {
    const std::vector<std::int32_t> some{0, 3, 4, 9, 10, 17, 20};
    const auto none = std::shared_ptr<const PlacedSet>();
    const auto plain = std::make_shared<const PlacedSet>(
        ChannelSet{.channels = channels, .kept = some, .scale = {}}, at::kCPU);
    const auto scaled = std::make_shared<const PlacedSet>(
        ChannelSet{.channels = channels, .kept = some, .scale = std::vector<float>(some.size(), 1.5F)},
        at::kCPU);
    for (const auto& here : {none, plain, scaled}) {
      const auto there = here ? std::make_unique<const PlacedSet>(here->set, device) : nullptr;
      for (const auto type : {at::kFloat, at::kBFloat16}) {
        const auto random = [&] {
          return at::randn({2, channels, 5, 3}).to(type).contiguous(at::MemoryFormat::ChannelsLast);
        };
        const at::Tensor branch = random().requires_grad_(true);
        const at::Tensor skip = random();
        const auto [sum, taken] = sum_relu_and_take(branch, skip, here);
        const auto [sum_there, taken_there] =
            kernels::sum_relu_and_take(branch.detach().to(device), skip.to(device), there.get());
        EXPECT_TRUE(at::equal(sum_there.cpu(), sum));
        EXPECT_EQ(sum_there.strides(), sum.strides());
        if (!here) {
          EXPECT_FALSE(taken_there.defined());
          continue;
        }
        EXPECT_TRUE(at::equal(taken_there.cpu(), taken));
        const at::Tensor of_taken = at::randn_like(taken.detach());
        const at::Tensor of_sum = random();
        ((taken * of_taken).sum() + (sum * of_sum).sum()).backward();
        const at::Tensor back = kernels::give_back(of_taken.to(device), of_sum.to(device), *there, sum_there);
        EXPECT_TRUE(at::equal(back.cpu(), branch.grad()));
      }
    }
  }
}

/// More parameters than a table has room for.
inline void expect_serves_many_parameters(at::Device device) {
  std::vector<SlicedParameter> parameters;
  std::vector<at::Tensor> leaves;
  for (std::int64_t i = 0; i < 1000; ++i) {
    const ParameterShape shape{
        .name = std::to_string(i), .sizes = {3 + i % 5}, .row_site = {}, .column_site = {}, .vector = true};
    parameters.push_back({.shape = shape, .value = at::randn(shape.sizes)});
    leaves.push_back(at::empty(shape.sizes, at::TensorOptions(device).dtype(at::kFloat)));
  }
  kernels::gather_slices(on_device(parameters, device), PlacedPlan(Plan{}, device), leaves);
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    EXPECT_TRUE(at::equal(leaves[p].cpu(), parameters[p].value)) << p;
  }
}

}  // namespace slicereduce::testing
