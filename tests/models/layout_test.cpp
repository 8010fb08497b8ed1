#include "models/layout.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/error.hpp"

namespace slicereduce {
namespace {

Layout layout_of(const std::string& arch, Coupling coupling, bool sample_classifier = false) {
  return make_layout(make_architecture(arch, 3, 10), coupling, sample_classifier);
}

TEST(Layout, CutsAConvolutionByItsOwnAndTheNextOnesSite) {
  const Layout layout = layout_of("resnet50", Coupling::block);
  const Block& block = layout.blocks[0];
  ASSERT_EQ(block.chain.size(), 3U);
  EXPECT_EQ(layout.sites[block.input_site].name, "layer1.0.input");
  EXPECT_EQ(layout.sites[*block.chain[1].input_site].name, "layer1.0.conv2");
  EXPECT_EQ(layout.sites[*block.chain[2].input_site].name, "layer1.0.conv3");
  EXPECT_EQ(block.chain[0].output_site, block.chain[1].input_site);
  EXPECT_EQ(block.chain[1].output_site, block.chain[2].input_site);
  EXPECT_FALSE(block.chain[2].output_site.has_value());  // its output joins the residual stream
}

TEST(Layout, UncoupledKeepsEveryRow) {
  const Layout layout = layout_of("resnet18", Coupling::none);
  for (const auto& shape : layout.parameters) {
    EXPECT_FALSE(shape.row_site.has_value()) << shape.name;
    EXPECT_TRUE(!shape.vector || !shape.column_site) << shape.name;
  }
  EXPECT_EQ(layout.sites.size(), layout_of("resnet18", Coupling::block).sites.size());
}

TEST(Layout, ProjectionSharesTheBlocksInput) {
  const Layout layout = layout_of("resnet18", Coupling::block);
  const Block& block = layout.blocks[2];
  ASSERT_TRUE(block.projection.has_value());
  EXPECT_EQ(block.projection->input_site, block.input_site);
  EXPECT_EQ(block.chain[0].input_site, block.input_site);
}

TEST(Layout, StemIsNeverSampledAndTheClassifierOnRequest) {
  const Layout dense = layout_of("resnet18", Coupling::block);
  EXPECT_FALSE(dense.parameters[dense.stem.weight].column_site.has_value());
  EXPECT_FALSE(dense.parameters[dense.classifier_weight].column_site.has_value());
  const Layout sampled = layout_of("resnet18", Coupling::block, true);
  EXPECT_EQ(sampled.parameters[sampled.classifier_weight].column_site, sampled.classifier_site);
  EXPECT_EQ(sampled.sites[*sampled.classifier_site].channels, 512);
}

TEST(Layout, NamesAreUnique) {
  for (const auto& arch : architecture_names()) {
    const Layout layout = layout_of(arch, Coupling::block);
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
