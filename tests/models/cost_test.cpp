#include "models/cost.hpp"

#include <gtest/gtest.h>

namespace slicereduce {
namespace {

struct Fractions {
  double bytes;
  double flops;
};

Fractions fractions(const std::string& arch, double ratio, Coupling coupling) {
  const Layout layout = make_layout(make_architecture(arch, 3, 1000), coupling, false);
  const SampleSize published{.ratio = ratio, .minimal_k = 1, .channel_multiple = 1};
  const LayerCost total = total_cost(layer_costs(layout, plan_of_size(layout, published), 224));
  return {.bytes = static_cast<double>(total.numel) / static_cast<double>(total.dense_numel),
          .flops = static_cast<double>(total.flops) / static_cast<double>(total.dense_flops)};
}

TEST(LayerCosts, GiveTheDesignsTable) {
  struct Row {
    const char* arch;
    double ratio;
    double published;
    double coupled;
    double flops;
  };
  for (const auto& row :
       {Row{"resnet18", 0.5, 0.523, 0.422, 0.429}, Row{"resnet50", 0.5, 0.541, 0.388, 0.344},
        Row{"resnet50", 1.0 / 3, 0.387, 0.251, 0.199}, Row{"resnet50", 0.25, 0.312, 0.197, 0.144},
        Row{"resnet152", 1.0 / 3, 0.357, 0.201, 0.175}}) {
    EXPECT_NEAR(fractions(row.arch, row.ratio, Coupling::none).bytes, row.published, 5e-4) << row.arch;
    EXPECT_NEAR(fractions(row.arch, row.ratio, Coupling::block).bytes, row.coupled, 5e-4) << row.arch;
    EXPECT_NEAR(fractions(row.arch, row.ratio, Coupling::block).flops, row.flops, 5e-4) << row.arch;
  }
}

TEST(LayerCosts, KnowTheDenseNetworksWork) {
  // torchvision's model pages: 1.81, 4.09 and 11.51 billion multiply-adds at 224 x 224.
  const auto giga = [](const std::string& arch) {
    const Layout layout = make_layout(make_architecture(arch, 3, 1000), Coupling::block, false);
    return static_cast<double>(total_cost(layer_costs(layout, Plan::full(layout.sites), 224)).dense_flops) /
           2e9;
  };
  EXPECT_NEAR(giga("resnet18"), 1.81, 0.01);
  EXPECT_NEAR(giga("resnet50"), 4.09, 0.01);
  EXPECT_NEAR(giga("resnet152"), 11.51, 0.01);
}

TEST(LayerCosts, FullPlanCostsTheDenseNetwork) {
  for (const auto& arch : architecture_names()) {
    const Layout layout = make_layout(make_architecture(arch, 3, 10), Coupling::block, false);
    const LayerCost total = total_cost(layer_costs(layout, Plan::full(layout.sites), 64));
    EXPECT_EQ(total.numel, total.dense_numel);
    EXPECT_EQ(total.flops, total.dense_flops);
  }
}

}  // namespace
}  // namespace slicereduce
