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

TEST(Architecture, WideOnesAndThoseOfThePaperHaveTheirSize) {
  // Zagoruyko and Komodakis 2016, table 5: 36.5 million.
  EXPECT_NEAR(parameter_count("wrn-28-10", 10) / 1e6, 36.5, 0.05);
  const auto of_grey_images = [](const std::string& arch) {
    std::int64_t count = 0;
    for (const auto& shape : make_layout(make_architecture(arch, 1, 10), Coupling::none, false).parameters) {
      count += shape.numel();
    }
    return count;
  };
  EXPECT_EQ(of_grey_images("mlp-3x500"), 784 * 500 + 500 + 500 * 500 + 500 + 500 * 10 + 10);
  EXPECT_EQ(of_grey_images("mlp-1x500"), 784 * 10 + 10);
  EXPECT_EQ(of_grey_images("cnn"),
            (32 * 25 + 32) + (64 * 32 * 25 + 64) + (3136 * 1024 + 1024) + (1024 * 10 + 10));
}

TEST(Architecture, RefusesSizesAndDropoutsThatThereAreNot) {
  for (const auto* name : {"wrn-28", "wrn-27-10", "wrn-4-10", "wrn-28-0", "mlp-0x5", "mlp-3", "mlp-3x5x",
                           "mlp-3x99999999999999999999"}) {
    EXPECT_THROW((void)make_architecture(name, 3, 10), Error) << name;
  }
  EXPECT_THROW((void)make_architecture("resnet18", 3, 10, 0.1), Error);
  EXPECT_THROW((void)make_architecture("cnn", 3, 10, 1.0), Error);
  EXPECT_NO_THROW((void)make_architecture("wrn-10-2", 3, 10, 0.3));
}

TEST(Architecture, EveryNameIsKnown) {
  for (const auto& name : architecture_names()) {
    EXPECT_EQ(make_architecture(name, 1, 10).in_channels, 1) << name;
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
