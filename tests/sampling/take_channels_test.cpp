#include "sampling/take_channels.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace slicereduce
