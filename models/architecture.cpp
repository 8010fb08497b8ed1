#include "models/architecture.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

template <typename T>
Part part(T kind) {
  return {.kind = std::move(kind)};
}

/// A convolution and the batch norm behind it.
void add_conv_norm(Parts& parts, Convolution convolution, const std::string& norm) {
  const std::int64_t channels = convolution.out;
  parts.push_back(part(std::move(convolution)));
  parts.push_back(part(Norm{.name = norm, .channels = channels}));
}

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

Parts branch_of(const Family& family, const std::string& name, std::int64_t in, std::int64_t width,
                std::int64_t stride) {
  std::vector<Convolution> convolutions;
  if (family.bottleneck) {
    convolutions = {{.in = in, .out = width},
                    {.in = width, .out = width, .kernel = 3, .stride = stride},
                    {.in = width, .out = 4 * width}};
  } else {
    convolutions = {{.in = in, .out = width, .kernel = 3, .stride = stride},
                    {.in = width, .out = width, .kernel = 3}};
  }
  Parts branch;
  for (std::size_t i = 0; i < convolutions.size(); ++i) {
    if (i > 0) {
      branch.push_back(part(Relu{}));
    }
    convolutions[i].name = concat(name, ".conv", i + 1);
    add_conv_norm(branch, convolutions[i], concat(name, ".bn", i + 1));
  }
  return branch;
}

Residual block_of(const Family& family, const std::string& name, std::int64_t in, std::int64_t width,
                  std::int64_t stride) {
  Residual block{.name = name,
                 .branch = branch_of(family, name, in, width, stride),
                 .stride = stride,
                 .out = family.bottleneck ? 4 * width : width};
  if (stride == 1 && in == block.out) {
    return block;
  }
  if (family.small_images) {
    block.shortcut = Shortcut::padding;
  } else {
    block.shortcut = Shortcut::projection;
    add_conv_norm(block.projection,
                  {.name = name + ".downsample.0", .in = in, .out = block.out, .stride = stride},
                  name + ".downsample.1");
  }
  return block;
}

Parts resnet(const Family& family, std::int64_t in_channels, std::int64_t num_classes) {
  const std::int64_t first_width = family.small_images ? 16 : 64;
  Parts parts;
  add_conv_norm(parts,
                {.name = "conv1",
                 .in = in_channels,
                 .out = first_width,
                 .kernel = family.small_images ? 3 : 7,
                 .stride = family.small_images ? 1 : 2,
                 .sampled = false},
                "bn1");
  parts.push_back(part(Relu{}));
  if (!family.small_images) {
    parts.push_back(part(MaxPool{.kernel = 3, .stride = 2, .padding = 1}));
  }
  std::int64_t channels = first_width;
  for (std::size_t stage = 0; stage < family.blocks.size(); ++stage) {
    for (std::int64_t b = 0; b < family.blocks[stage]; ++b) {
      const std::int64_t stride = stage > 0 && b == 0 ? 2 : 1;
      Residual block =
          block_of(family, concat("layer", stage + 1, ".", b), channels, first_width << stage, stride);
      channels = block.out;
      parts.push_back(part(std::move(block)));
      parts.push_back(part(Relu{}));
    }
  }
  parts.push_back(part(MeanPool{}));
  parts.push_back(part(Linear{.name = "fc", .in = channels, .out = num_classes}));
  return parts;
}

Residual wide_block(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t stride,
                    double dropout) {
  Residual block{.name = name, .out = out};
  block.branch = {
      part(Norm{.name = name + ".bn1", .channels = in}), part(Relu{}),
      part(Convolution{.name = name + ".conv1", .in = in, .out = out, .kernel = 3, .has_bias = true})};
  if (dropout > 0) {
    block.branch.push_back(part(Dropout{.p = dropout}));
  }
  block.branch.push_back(part(Norm{.name = name + ".bn2", .channels = out}));
  block.branch.push_back(part(Relu{}));
  block.branch.push_back(part(Convolution{
      .name = name + ".conv2", .in = out, .out = out, .kernel = 3, .stride = stride, .has_bias = true}));
  if (stride != 1 || in != out) {
    block.shortcut = Shortcut::projection;
    block.projection = {part(
        Convolution{.name = name + ".shortcut.0", .in = in, .out = out, .stride = stride, .has_bias = true})};
  }
  return block;
}

Parts wide_resnet(std::int64_t depth, std::int64_t width, double dropout, std::int64_t in_channels,
                  std::int64_t num_classes) {
  constexpr std::int64_t kFirst = 16;
  Parts parts{part(Convolution{
      .name = "conv1", .in = in_channels, .out = kFirst, .kernel = 3, .has_bias = true, .sampled = false})};
  std::int64_t channels = kFirst;
  for (int stage = 0; stage < 3; ++stage) {
    const std::int64_t out = (kFirst << stage) * width;
    for (std::int64_t b = 0; b < (depth - 4) / 6; ++b) {
      const std::int64_t stride = stage > 0 && b == 0 ? 2 : 1;
      parts.push_back(part(wide_block(concat("layer", stage + 1, ".", b), channels, out, stride, dropout)));
      channels = out;
    }
  }
  parts.push_back(part(Norm{.name = "bn1", .channels = channels}));
  parts.push_back(part(Relu{}));
  parts.push_back(part(MeanPool{}));
  parts.push_back(part(Linear{.name = "linear", .in = channels, .out = num_classes}));
  return parts;
}

constexpr std::int64_t kMnistSide = 28;

Parts perceptron(std::int64_t layers, std::int64_t width, double dropout, std::int64_t in_channels,
                 std::int64_t num_classes) {
  Parts parts{part(Flatten{})};
  std::int64_t features = in_channels * kMnistSide * kMnistSide;
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool is_last = i + 1 == layers;
    const std::int64_t out = is_last ? num_classes : width;
    parts.push_back(part(Linear{.name = concat("model.linear", i), .in = features, .out = out}));
    if (!is_last) {
      parts.push_back(part(Relu{}));
      if (dropout > 0) {
        parts.push_back(part(Dropout{.p = dropout}));
      }
    }
    features = out;
  }
  return parts;
}

Parts small_cnn(double dropout, std::int64_t in_channels, std::int64_t num_classes) {
  constexpr std::int64_t kMaps = 64;
  constexpr std::int64_t kFeatures = kMaps * (kMnistSide / 4) * (kMnistSide / 4);
  Parts parts{
      part(Convolution{
          .name = "conv1", .in = in_channels, .out = 32, .kernel = 5, .has_bias = true, .sampled = false}),
      part(MaxPool{}), part(Relu{}),
      part(Convolution{.name = "conv2", .in = 32, .out = kMaps, .kernel = 5, .has_bias = true})};
  if (dropout > 0) {
    parts.push_back(part(Dropout{.p = dropout, .whole_maps = true}));
  }
  for (Part next :
       {part(MaxPool{}), part(Relu{}), part(Flatten{}),
        part(Linear{.name = "fc1", .in = kFeatures, .out = 1024, .sampled = false}), part(Relu{})}) {
    parts.push_back(std::move(next));
  }
  if (dropout > 0) {
    parts.push_back(part(Dropout{.p = dropout}));
  }
  parts.push_back(part(Linear{.name = "fc2", .in = 1024, .out = num_classes}));
  return parts;
}

/// Two positive numbers in `text`, which begins with `prefix` and has `between` between them.
std::optional<std::pair<std::int64_t, std::int64_t>> two_numbers(const std::string& text,
                                                                 const std::string& prefix, char between) {
  if (!text.starts_with(prefix)) {
    return std::nullopt;
  }
  const char* end = text.data() + text.size();
  std::int64_t first = 0;
  std::int64_t second = 0;
  const auto one = std::from_chars(text.data() + prefix.size(), end, first);
  if (one.ec != std::errc() || one.ptr == end || *one.ptr != between) {
    return std::nullopt;
  }
  const auto two = std::from_chars(one.ptr + 1, end, second);
  if (two.ec != std::errc() || two.ptr != end || first < 1 || second < 1) {
    return std::nullopt;
  }
  return std::pair(first, second);
}

bool drops(const Parts& parts) {
  return std::ranges::any_of(parts, [](const Part& each) {
    const auto* residual = std::get_if<Residual>(&each.kind);
    return std::holds_alternative<Dropout>(each.kind) || (residual != nullptr && drops(residual->branch));
  });
}

constexpr std::int64_t kMostLayers = 10'000;
constexpr std::int64_t kWidest = 1'000'000;

/// `architecture` with its parts; false where its name is of none.
bool fill(Architecture& architecture, double dropout) {
  const std::string& name = architecture.name;
  const std::int64_t in = architecture.in_channels;
  const std::int64_t classes = architecture.num_classes;
  if (const auto family = families().find(name); family != families().end()) {
    architecture.parts = resnet(family->second, in, classes);
    return true;
  }
  if (const auto wide = two_numbers(name, "wrn-", '-')) {
    const auto [depth, width] = *wide;
    if (depth < 10 || depth % 6 != 4 || depth > kMostLayers || width > kWidest) {
      throw Error(ErrorKind::usage,
                  concat("architecture '", name, "': expected a depth of 6n + 4 from 10 to ", kMostLayers,
                         ", and a width of at most ", kWidest, " (--arch)"));
    }
    architecture.parts = wide_resnet(depth, width, dropout, in, classes);
    architecture.initialization = Initialization::xavier;
    return true;
  }
  architecture.image_side = kMnistSide;
  architecture.initialization = Initialization::pytorch;
  if (const auto mlp = two_numbers(name, "mlp-", 'x');
      mlp && mlp->first <= kMostLayers && mlp->second <= kWidest) {
    architecture.parts = perceptron(mlp->first, mlp->second, dropout, in, classes);
    return true;
  }
  if (name == "cnn") {
    architecture.parts = small_cnn(dropout, in, classes);
    return true;
  }
  return false;
}

}  // namespace

const std::vector<std::string>& architecture_names() {
  static const std::vector<std::string> kNames{"resnet18",  "resnet34",  "resnet50", "resnet101", "resnet152",
                                               "resnet20",  "resnet32",  "resnet44", "resnet56",  "resnet110",
                                               "wrn-28-10", "mlp-3x500", "cnn"};
  return kNames;
}

void require_image_side(const Architecture& architecture, std::int64_t side) {
  if (architecture.image_side && *architecture.image_side != side) {
    throw Error(ErrorKind::usage,
                concat(architecture.name, " takes images of ", *architecture.image_side, "x",
                       *architecture.image_side, ", not of ", side, "x", side, " (--image-size)"));
  }
}

Architecture make_architecture(const std::string& name, std::int64_t in_channels, std::int64_t num_classes,
                               double dropout) {
  if (!(dropout >= 0 && dropout < 1)) {
    throw Error(ErrorKind::usage, concat("dropout = ", dropout, ": expected 0 <= dropout < 1 (--dropout)"));
  }
  Architecture architecture{
      .name = name, .parts = {}, .in_channels = in_channels, .num_classes = num_classes, .image_side = {}};
  if (!fill(architecture, dropout)) {
    std::string known;
    for (const auto& option : architecture_names()) {
      known += (known.empty() ? "" : ", ") + option;
    }
    const std::string near = nearest(name, architecture_names());
    throw Error(
        ErrorKind::usage,
        concat("unknown architecture '", name, "': ", near.empty() ? "" : concat("did you mean ", near, "? "),
               "Expected one of ", known, ", or another wrn-DEPTH-WIDTH or mlp-LAYERSxWIDTH (--arch)"));
  }
  if (dropout > 0 && !drops(architecture.parts)) {
    throw Error(ErrorKind::usage, concat("dropout = ", dropout, ": ", name, " has none (--dropout)"));
  }
  return architecture;
}

}  // namespace slicereduce
