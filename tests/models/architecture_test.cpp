#include "models/architecture.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"
#include "models/layout.hpp"

namespace slicereduce {
namespace {

std::int64_t parameter_count(const std::string& arch, std::int64_t classes) {
  std::int64_t count = 0;
  for (const auto& shape :
       make_layout(make_architecture(arch, 3, classes), Coupling::block, false).parameters) {
    count += shape.numel();
  }
  return count;
}

TEST(Architecture, HasTorchvisionsNumberOfParameters) {
  EXPECT_EQ(parameter_count("resnet18", 1000), 11'689'512);
  EXPECT_EQ(parameter_count("resnet34", 1000), 21'797'672);
  EXPECT_EQ(parameter_count("resnet50", 1000), 25'557'032);
  EXPECT_EQ(parameter_count("resnet101", 1000), 44'549'160);
  EXPECT_EQ(parameter_count("resnet152", 1000), 60'192'808);
}

TEST(Architecture, SmallNetworksHaveThePapersSize) {
  // He et al. 2015, table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million.
  EXPECT_EQ(parameter_count("resnet20", 10), 269'722);
  EXPECT_NEAR(parameter_count("resnet32", 10) / 1e6, 0.46, 0.01);
  EXPECT_NEAR(parameter_count("resnet44", 10) / 1e6, 0.66, 0.01);
  EXPECT_NEAR(parameter_count("resnet56", 10) / 1e6, 0.85, 0.01);
  EXPECT_NEAR(parameter_count("resnet110", 10) / 1e6, 1.7, 0.05);
}

TEST(Architecture, EveryNameIsKnown) {
  for (const auto& name : architecture_names()) {
    EXPECT_EQ(make_architecture(name, 1, 10).stem.in, 1) << name;
  }
}

TEST(Architecture, UnknownNameListsTheKnownOnes) {
  try {
    (void)make_architecture("resnet9", 3, 10);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("resnet152"), std::string::npos);
  }
}

}  // namespace
}  // namespace slicereduce
