#include "models/layout.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>
#include <variant>

#include "core/error.hpp"

namespace slicereduce {
namespace {

Layout coupled_layout(const std::string& arch, Coupling coupling, bool sample_classifier = false) {
  return make_layout(make_architecture(arch, 3, 10), coupling, sample_classifier);
}

/// The layer of that name, in whatever block.
const Layer* find_layer(const Steps& steps, const std::string& name) {
  for (const Step& step : steps) {
    if (const auto* layer = std::get_if<Layer>(&step.kind); layer != nullptr && layer->name == name) {
      return layer;
    }
    if (const auto* residual = std::get_if<ResidualStep>(&step.kind)) {
      for (const Steps* inside : {&residual->branch, &residual->projection}) {
        if (const Layer* found = find_layer(*inside, name)) {
          return found;
        }
      }
    }
  }
  return nullptr;
}

const Layer& layer_of(const Layout& layout, const std::string& name) {
  const Layer* found = find_layer(layout.steps, name);
  return found != nullptr ? *found : throw std::out_of_range(name);
}

std::string input_of(const Layout& layout, const std::string& name) {
  const auto site = layer_of(layout, name).input_site;
  return site ? layout.sites[*site].name : "all";
}

std::string output_of(const Layout& layout, const std::string& name) {
  const auto site = layer_of(layout, name).output_site;
  return site ? layout.sites[*site].name : "all";
}

TEST(Layout, CutsAConvolutionByItsOwnAndTheNextOnesSite) {
  const Layout layout = coupled_layout("resnet50", Coupling::block);
  EXPECT_EQ(input_of(layout, "layer1.0.conv1"), "layer1.0.input");
  EXPECT_EQ(input_of(layout, "layer1.0.conv2"), "layer1.0.conv2");
  EXPECT_EQ(input_of(layout, "layer1.0.conv3"), "layer1.0.conv3");
  EXPECT_EQ(output_of(layout, "layer1.0.conv1"), "layer1.0.conv2");
  EXPECT_EQ(output_of(layout, "layer1.0.conv2"), "layer1.0.conv3");
  EXPECT_EQ(output_of(layout, "layer1.0.conv3"), "all");  // it joins the residual stream
}

TEST(Layout, UncoupledKeepsEveryRow) {
  for (const auto& arch : architecture_names()) {
    const Layout layout = coupled_layout(arch, Coupling::none);
    for (const auto& shape : layout.parameters) {
      EXPECT_FALSE(shape.row_site.has_value()) << shape.name;
      EXPECT_TRUE(!shape.vector || !shape.column_site) << shape.name;
    }
    EXPECT_EQ(layout.sites.size(), coupled_layout(arch, Coupling::block).sites.size());
  }
}

TEST(Layout, ProjectionSharesTheBlocksInput) {
  const Layout layout = coupled_layout("resnet18", Coupling::block);
  EXPECT_EQ(input_of(layout, "layer2.0.downsample.0"), "layer2.0.input");
  EXPECT_EQ(input_of(layout, "layer2.0.conv1"), "layer2.0.input");
  const Layout wide = coupled_layout("wrn-10-2", Coupling::block);
  EXPECT_EQ(input_of(wide, "layer2.0.shortcut.0"), "layer2.0.input");
  EXPECT_EQ(input_of(wide, "layer2.0.conv1"), "layer2.0.input");
}

TEST(Layout, NormsBetweenCoupledLayersHaveTheirChannels) {
  for (const auto* arch : {"resnet20", "wrn-10-2"}) {
    const Layout layout = coupled_layout(arch, Coupling::block);
    const auto named = [&](const std::string& name) {
      return std::ranges::find(layout.statistics, name, &NormShape::name);
    };
    const bool wide = std::string(arch) == "wrn-10-2";
    const auto between = named(wide ? "layer1.0.bn2" : "layer1.0.bn1");
    ASSERT_NE(between, layout.statistics.end());
    EXPECT_EQ(between->site, layer_of(layout, "layer1.0.conv2").input_site);
    EXPECT_FALSE(named(wide ? "layer1.0.bn1" : "layer1.0.bn2")->site.has_value());
  }
}

TEST(Layout, PerceptronsAndSmallNetworksAreCoupledToo) {
  const Layout perceptron = coupled_layout("mlp-3x500", Coupling::block);
  EXPECT_EQ(input_of(perceptron, "model.linear0"), "model.linear0");
  EXPECT_EQ(output_of(perceptron, "model.linear0"), "model.linear1");
  EXPECT_EQ(input_of(perceptron, "model.linear2"), "all");  // the classifier
  EXPECT_FALSE(perceptron.stem_weight.has_value());
  const Layout cnn = coupled_layout("cnn", Coupling::block, true);
  EXPECT_EQ(input_of(cnn, "conv1"), "all");
  EXPECT_EQ(output_of(cnn, "conv1"), "conv2");
  EXPECT_EQ(output_of(cnn, "conv2"), "all");  // its pixels are features of their own behind it
  EXPECT_EQ(output_of(cnn, "fc1"), "fc2");
}

TEST(Layout, StemIsNeverSampledAndTheClassifierOnRequest) {
  const Layout dense = coupled_layout("resnet18", Coupling::block);
  EXPECT_EQ(dense.stem_weight, 0U);
  EXPECT_FALSE(dense.parameters[*dense.stem_weight].column_site.has_value());
  EXPECT_FALSE(dense.parameters[dense.classifier_weight].column_site.has_value());
  const Layout sampled = coupled_layout("resnet18", Coupling::block, true);
  EXPECT_EQ(sampled.parameters[sampled.classifier_weight].column_site, sampled.classifier_site);
  EXPECT_EQ(sampled.sites[*sampled.classifier_site].channels, 512);
}

TEST(Layout, NamesAreUnique) {
  for (const auto& arch : architecture_names()) {
    const Layout layout = coupled_layout(arch, Coupling::block);
    std::set<std::string> names;
    for (const auto& shape : layout.parameters) {
      EXPECT_TRUE(names.insert(shape.name).second) << shape.name;
    }
    std::set<std::string> sites;
    for (const auto& site : layout.sites) {
      EXPECT_TRUE(sites.insert(site.name).second) << site.name;
    }
  }
}

TEST(Coupling, RoundTripsItsNames) {
  EXPECT_EQ(parse_coupling(to_string(Coupling::block)), Coupling::block);
  EXPECT_EQ(parse_coupling(to_string(Coupling::none)), Coupling::none);
  EXPECT_THROW((void)parse_coupling("full"), Error);
}

}  // namespace
}  // namespace slicereduce
