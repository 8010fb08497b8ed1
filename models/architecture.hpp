#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace slicereduce {

/// A convolution without bias, padded by kernel / 2, and the batch norm behind it.
struct ConvNorm {
  std::string conv;  ///< parameter name without ".weight", as torchvision has it
  std::string norm;
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
};

/// How a block's input reaches its sum.
enum class Shortcut {
  identity,
  projection,  ///< a 1x1 convolution and batch norm
  padding,     ///< every second pixel, new channels zero on both sides (He et al. 2015, option A)
};

/// A residual block: the chain of its convolutions, ReLU between them and behind the sum.
struct ResidualBlock {
  std::string name;
  std::vector<ConvNorm> chain;
  Shortcut shortcut = Shortcut::identity;
  std::optional<ConvNorm> projection;
};

/// A residual network, as data: what a plan, a cost and a forward pass need to know.
struct Architecture {
  std::string name;
  ConvNorm stem;
  bool stem_pools = false;  ///< max pooling 3x3, stride 2, behind the stem
  std::vector<ResidualBlock> blocks;
  std::int64_t features = 0;  ///< channels that the classifier reads
  std::int64_t num_classes = 0;
};

/// resnet18/34/50/101/152 with torchvision's names and shapes (stride on the 3x3 convolution of a
/// bottleneck), resnet20/32/44/56/110 for small images (He et al. 2015, section 4.2).
/// Throws Error(usage) for another name, listing these.
[[nodiscard]] Architecture make_architecture(const std::string& name, std::int64_t in_channels,
                                             std::int64_t num_classes);
[[nodiscard]] const std::vector<std::string>& architecture_names();

}  // namespace slicereduce
