#include "models/architecture.hpp"

#include <array>
#include <map>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

struct Family {
  bool bottleneck;
  bool small_images;
  std::vector<std::int64_t> blocks;  // of each stage
};

const std::map<std::string, Family>& families() {
  static const std::map<std::string, Family> kFamilies{
      {"resnet18", {false, false, {2, 2, 2, 2}}},  {"resnet34", {false, false, {3, 4, 6, 3}}},
      {"resnet50", {true, false, {3, 4, 6, 3}}},   {"resnet101", {true, false, {3, 4, 23, 3}}},
      {"resnet152", {true, false, {3, 8, 36, 3}}}, {"resnet20", {false, true, {3, 3, 3}}},
      {"resnet32", {false, true, {5, 5, 5}}},      {"resnet44", {false, true, {7, 7, 7}}},
      {"resnet56", {false, true, {9, 9, 9}}},      {"resnet110", {false, true, {18, 18, 18}}},
  };
  return kFamilies;
}

ConvNorm conv_norm(const std::string& block, int number, std::int64_t in, std::int64_t out,
                   std::int64_t kernel, std::int64_t stride) {
  return {.conv = concat(block, ".conv", number),
          .norm = concat(block, ".bn", number),
          .in = in,
          .out = out,
          .kernel = kernel,
          .stride = stride};
}

ResidualBlock make_block(const Family& family, const std::string& name, std::int64_t in, std::int64_t width,
                         std::int64_t stride) {
  const std::int64_t out = family.bottleneck ? 4 * width : width;
  ResidualBlock block{.name = name, .chain = {}, .shortcut = Shortcut::identity, .projection = {}};
  if (family.bottleneck) {
    block.chain = {conv_norm(name, 1, in, width, 1, 1), conv_norm(name, 2, width, width, 3, stride),
                   conv_norm(name, 3, width, out, 1, 1)};
  } else {
    block.chain = {conv_norm(name, 1, in, width, 3, stride), conv_norm(name, 2, width, width, 3, 1)};
  }
  if (stride == 1 && in == out) {
    return block;
  }
  if (family.small_images) {
    block.shortcut = Shortcut::padding;
  } else {
    block.shortcut = Shortcut::projection;
    block.projection = ConvNorm{.conv = name + ".downsample.0",
                                .norm = name + ".downsample.1",
                                .in = in,
                                .out = out,
                                .kernel = 1,
                                .stride = stride};
  }
  return block;
}

}  // namespace

const std::vector<std::string>& architecture_names() {
  static const std::vector<std::string> kNames{"resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
                                               "resnet20", "resnet32", "resnet44", "resnet56",  "resnet110"};
  return kNames;
}

Architecture make_architecture(const std::string& name, std::int64_t in_channels, std::int64_t num_classes) {
  const auto found = families().find(name);
  if (found == families().end()) {
    std::string known;
    for (const auto& option : architecture_names()) {
      known += (known.empty() ? "" : ", ") + option;
    }
    throw Error(ErrorKind::usage,
                concat("unknown architecture '", name, "': expected one of ", known, " (--arch)"));
  }
  const Family& family = found->second;
  const std::int64_t first_width = family.small_images ? 16 : 64;
  Architecture architecture{.name = name,
                            .stem = {.conv = "conv1",
                                     .norm = "bn1",
                                     .in = in_channels,
                                     .out = first_width,
                                     .kernel = family.small_images ? 3 : 7,
                                     .stride = family.small_images ? 1 : 2},
                            .stem_pools = !family.small_images,
                            .blocks = {},
                            .features = 0,
                            .num_classes = num_classes};
  std::int64_t channels = first_width;
  for (std::size_t stage = 0; stage < family.blocks.size(); ++stage) {
    const std::int64_t width = first_width << stage;
    for (std::int64_t b = 0; b < family.blocks[stage]; ++b) {
      const std::int64_t stride = stage > 0 && b == 0 ? 2 : 1;
      architecture.blocks.push_back(
          make_block(family, concat("layer", stage + 1, ".", b), channels, width, stride));
      channels = architecture.blocks.back().chain.back().out;
    }
  }
  architecture.features = channels;
  return architecture;
}

}  // namespace slicereduce
