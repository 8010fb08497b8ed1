#include "sampling/take_channels.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace slicereduce {
namespace {

std::shared_ptr<const PlacedSet> some_channels(bool scaled) {
  ChannelSet set{.channels = 10, .kept = {0, 3, 4, 9}, .scale = {}};
  if (scaled) {
    set.scale = {0.5F, 2.0F, 1.0F, 3.0F};
  }
  return std::make_shared<const PlacedSet>(set, at::kCPU);
}

at::Tensor reference(const at::Tensor& x, const ChannelSet& set) {
  const std::vector<std::int64_t> kept(set.kept.begin(), set.kept.end());
  at::Tensor taken = x.index_select(1, at::tensor(kept));
  if (!set.scale.empty()) {
    std::vector<std::int64_t> shape(x.dim(), 1);
    shape[1] = set.size();
    taken = taken * at::tensor(set.scale).reshape(shape).to(x.scalar_type());
  }
  return taken;
}

void expect_like_index_select(at::IntArrayRef sizes, bool scaled, bool channels_last) {
  const auto set = some_channels(scaled);
  at::Tensor base = at::randn(sizes);
  if (channels_last) {
    base = base.contiguous(at::MemoryFormat::ChannelsLast);
  }
  const at::Tensor x = base.clone().requires_grad_(true);
  const at::Tensor y = base.clone().requires_grad_(true);
  const at::Tensor taken = take_channels(x, set);
  const at::Tensor expected = reference(y, set->set);
  EXPECT_TRUE(at::equal(taken, expected));
  const at::Tensor gradient = at::randn_like(expected);
  taken.backward(gradient);
  expected.backward(gradient);
  EXPECT_TRUE(at::allclose(x.grad(), y.grad(), 1e-6, 1e-7));
}

TEST(TakeChannels, IsIndexSelectAndItsGradient) {
  for (const bool scaled : {false, true}) {
    expect_like_index_select({3, 10, 5, 4}, scaled, /*channels_last=*/true);
    expect_like_index_select({3, 10, 5, 4}, scaled, /*channels_last=*/false);
    expect_like_index_select({6, 10}, scaled, /*channels_last=*/false);
  }
}

TEST(TakeChannels, ReturnsTheInputWhereEverythingIsKept) {
  const at::Tensor x = at::randn({2, 10, 3, 3});
  EXPECT_TRUE(take_channels(x, std::make_shared<const PlacedSet>(ChannelSet::all(10), at::kCPU)).is_same(x));
}

TEST(TakeChannels, KeepsChannelsLastAndBfloat16) {
  const at::Tensor x = at::randn({2, 10, 3, 3}).to(at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor taken = take_channels(x, some_channels(false));
  EXPECT_EQ(taken.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(taken.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(at::equal(taken, reference(x, some_channels(false)->set)));
}

TEST(TakeAndPass, AddsBothGradients) {
  for (const bool scaled : {false, true}) {
    const auto set = some_channels(scaled);
    const at::Tensor base = at::randn({3, 10, 5, 4}).contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor x = base.clone().requires_grad_(true);
    const at::Tensor y = base.clone().requires_grad_(true);
    const auto [taken, passed] = take_and_pass(x, set);
    EXPECT_TRUE(at::equal(passed, x));
    const at::Tensor expected = reference(y, set->set);
    const at::Tensor weight = at::randn_like(expected);
    ((taken * weight).sum() + passed.square().sum()).backward();
    ((expected * weight).sum() + y.square().sum()).backward();
    EXPECT_TRUE(at::allclose(x.grad(), y.grad(), 1e-5, 1e-6));
  }
}

/// What one pass gives against what several do, to the bit.
void expect_like_separate_steps(const std::shared_ptr<const PlacedSet>& set, at::ScalarType type,
                                at::IntArrayRef sizes, bool channels_last, bool uses_sum) {
  const auto random = [&] {
    const at::Tensor x = at::randn(sizes).to(type);
    return channels_last ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
  };
  std::vector<at::Tensor> leaves{random(), random()};
  leaves[0].flatten()[3] = std::numeric_limits<float>::quiet_NaN();
  leaves[0].flatten()[5] = std::numeric_limits<float>::infinity();
  std::vector<at::Tensor> others;
  for (at::Tensor& leaf : leaves) {
    others.push_back(leaf.clone().requires_grad_(true));
    leaf.requires_grad_(true);
  }
  const auto [sum, taken] = sum_relu_and_take(leaves[0], leaves[1], set);
  const at::Tensor rectified = at::relu(others[0] + others[1]);
  const auto [expected_taken, expected] =
      set == nullptr ? std::pair(rectified, rectified) : take_and_pass(rectified, set);
  EXPECT_TRUE(at::allclose(sum, expected, 0, 0, /*equal_nan=*/true));
  EXPECT_TRUE(at::allclose(taken, expected_taken, 0, 0, /*equal_nan=*/true));
  EXPECT_EQ(taken.scalar_type(), type);

  const at::Tensor of_taken = at::randn_like(expected_taken.detach());
  const at::Tensor of_sum = at::randn_like(expected.detach());
  const auto run_back = [&](const at::Tensor& a, const at::Tensor& b) {
    const at::Tensor first = (a * of_taken).sum();
    (uses_sum ? first + (b * of_sum).sum() : first).backward();
  };
  run_back(taken, sum);
  run_back(expected_taken, expected);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    EXPECT_TRUE(at::equal(leaves[i].grad(), others[i].grad()));
  }
}

TEST(SumReluAndTake, HasTheBitsOfSeparateSteps) {
  const auto full = std::make_shared<const PlacedSet>(ChannelSet::all(10), at::kCPU);
  for (const auto& set :
       {some_channels(false), some_channels(true), full, std::shared_ptr<const PlacedSet>()}) {
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      for (const bool uses_sum : {true, false}) {
        expect_like_separate_steps(set, type, {3, 10, 5, 4}, /*channels_last=*/true, uses_sum);
        expect_like_separate_steps(set, type, {3, 10, 5, 4}, /*channels_last=*/false, uses_sum);
        expect_like_separate_steps(set, type, {6, 10}, /*channels_last=*/false, uses_sum);
      }
    }
  }
}

}  // namespace
}  // namespace slicereduce
