#include "comm/pack.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>

namespace slicereduce {
namespace {

/// Magnitudes from far below the smallest fp16 to beyond its largest, both zeros and infinities.
at::Tensor gradients(at::ScalarType type) {
  at::Tensor values = at::randn({5000}) * at::exp(at::randn({5000}) * 6);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  values.narrow(0, 0, 4).copy_(at::tensor({kInfinity, -kInfinity, 0.0F, -0.0F}));
  return values.to(type);
}

at::Tensor bits_of(const at::Tensor& values) {
  return values.view(values.element_size() == 4 ? at::kInt : at::kShort);
}

TEST(Pack, TheWayOfOtherDevicesGivesTheSameBits) {
  for (const auto wire : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const at::Tensor gradient = gradients(type);
      const at::Tensor expected = at::zeros({gradient.numel()}, scalar_type(wire));
      const at::Tensor packed = at::ones_like(expected);
      pack(gradient, 1.0F / 3, expected, wire);
      pack_from_device(gradient, 1.0F / 3, packed);
      EXPECT_TRUE(at::equal(bits_of(packed), bits_of(expected)))
          << wire_name(wire) << " from " << c10::toString(type);
    }
  }
}

TEST(Pack, KeepsTheOrderOfMemory) {
  const at::Tensor values = at::arange(2 * 3 * 4 * 5).to(at::kFloat).view({2, 3, 4, 5});
  const at::Tensor strided = values.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor in_memory_order = values.permute({0, 2, 3, 1}).flatten();
  const at::Tensor part_of_more = at::cat({at::zeros({7}), in_memory_order}).narrow(0, 7, 120);
  for (const at::Tensor& gradient : {strided, part_of_more}) {
    const at::Tensor slot = at::zeros({120});
    pack(gradient, 0.5F, slot, WireType::fp32);
    EXPECT_TRUE(at::equal(slot, in_memory_order * 0.5F));
    pack_from_device(gradient, 0.25F, slot);
    EXPECT_TRUE(at::equal(slot, in_memory_order * 0.25F));
  }
}

}  // namespace
}  // namespace slicereduce
