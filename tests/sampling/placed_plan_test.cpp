#include "sampling/placed_plan.hpp"

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

namespace slicereduce {
namespace {

template <typename T>
std::vector<T> values_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<T>(), tensor.const_data_ptr<T>() + tensor.numel()};
}

TEST(PlacedPlan, HoldsEverySetsIndicesAndFactors) {
  const Plan plan{.sets = {{.channels = 4, .kept = {0, 3}, .scale = {0.5F, 2.0F}},
                           {.channels = 3, .kept = {0, 1, 2}, .scale = {}},
                           {.channels = 5, .kept = {4}, .scale = {7.0F}}}};
  const PlacedPlan placed(plan, at::kCPU);
  EXPECT_EQ(placed.plan(), plan);
  for (std::size_t site = 0; site < plan.sets.size(); ++site) {
    const ChannelSet& set = plan.sets[site];
    const PlacedSet alone(set, at::kCPU);
    for (const PlacedSet* there : {placed.set(site).get(), &alone}) {
      EXPECT_EQ(there->set, set);
      EXPECT_EQ(values_of<std::int64_t>(there->kept),
                std::vector<std::int64_t>(set.kept.begin(), set.kept.end()));
      EXPECT_EQ(there->scale.defined(), !set.scale.empty());
      if (there->scale.defined()) {
        EXPECT_EQ(values_of<float>(there->scale), set.scale);
      }
    }
  }
}

TEST(PlacedPlan, OutlivesThePlanItWasMadeFrom) {
  std::shared_ptr<const PlacedSet> set;
  {
    const PlacedPlan placed(Plan{.sets = {{.channels = 9, .kept = {2, 8}, .scale = {1.5F, 3.0F}}}}, at::kCPU);
    set = placed.set(0);
  }
  EXPECT_EQ(values_of<std::int64_t>(set->kept), (std::vector<std::int64_t>{2, 8}));
  EXPECT_EQ(values_of<float>(set->scale), (std::vector<float>{1.5F, 3.0F}));
}

}  // namespace
}  // namespace slicereduce
