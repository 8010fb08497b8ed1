#include "sampling/sliced_parameter.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "tests/support/random_parameters.hpp"

namespace slicereduce {
namespace {

using testing::RandomParameters;
using testing::reference_slices;

TEST(GatherSlices, EqualsIndexSelectInBothPrecisions) {
  RandomParameters random(1);
  for (std::uint64_t step = 0; step < 10; ++step) {
    const Plan plan = random.random_plan(step);
    const PlacedPlan placed(plan, at::kCPU);
    for (const auto& parameter : random.parameters) {
      const at::Tensor expected = reference_slices(parameter.value, parameter.shape, plan);
      for (const auto dtype : {at::kFloat, at::kBFloat16}) {
        const at::Tensor leaf = at::empty_like(expected, dtype);
        gather_slices(parameter, placed, leaf);
        EXPECT_TRUE(at::equal(leaf, expected.to(dtype))) << parameter.shape.name;
      }
    }
  }
}

TEST(GatherSlices, RefusesALeafOfAnotherShape) {
  RandomParameters random(1);
  const Plan plan = random.random_plan(0);
  const at::Tensor leaf = at::empty(random.parameters[0].shape.sizes);
  EXPECT_THROW(gather_slices(random.parameters[0], PlacedPlan(plan, at::kCPU), leaf), Error);
}

TEST(ScatterSlices, PutsEveryValueBackAndZeroElsewhere) {
  RandomParameters random(2);
  const Plan plan = random.random_plan(3);
  const PlacedPlan placed(plan, at::kCPU);
  for (const auto& parameter : random.parameters) {
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const at::Tensor slices = reference_slices(parameter.value, parameter.shape, plan).to(dtype);
      const at::Tensor dense = scatter_slices(parameter.shape, placed, slices);
      EXPECT_TRUE(at::equal(reference_slices(dense, parameter.shape, plan), slices.to(at::kFloat)));
      EXPECT_EQ(dense.count_nonzero().item<std::int64_t>(), slices.count_nonzero().item<std::int64_t>());
    }
  }
}

TEST(ParameterShape, CountsWhatAPlanLeaves) {
  RandomParameters random(3);
  const Plan plan = random.random_plan(0);  // keeps 8 of 20 and 9 of 24
  EXPECT_EQ(random.parameters[0].shape.compact_sizes(plan), (std::vector<std::int64_t>{9, 8, 3, 3}));
  EXPECT_EQ(random.parameters[1].shape.compact_numel(plan), 9);
  EXPECT_EQ(random.parameters[3].shape.compact_numel(plan), random.parameters[3].shape.numel());
  EXPECT_TRUE(random.parameters[3].shape.whole(plan));
  EXPECT_FALSE(random.parameters[0].shape.whole(plan));
}

}  // namespace
}  // namespace slicereduce
