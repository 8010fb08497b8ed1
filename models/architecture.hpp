#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace slicereduce {

/// A convolution, padded by kernel / 2.
struct Convolution {
  std::string name;  ///< of its parameters, without ".weight"
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  bool has_bias = false;
  bool sampled = true;  ///< whether its input channels may be left out
};

/// A linear map with a bias.
struct Linear {
  std::string name;
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool sampled = true;  ///< likewise; the classifier's on request alone
};

/// Batch norm.
struct Norm {
  std::string name;
  std::int64_t channels = 0;
};

/// max(x, 0).
struct Relu {};

/// The largest of each square window, in pixels.
struct MaxPool {
  std::int64_t kernel = 2;
  std::int64_t stride = 2;
  std::int64_t padding = 0;
};

/// The mean over all pixels: [N, C, H, W] becomes [N, C].
struct MeanPool {};

/// [N, C, H, W] becomes [N, C H W].
struct Flatten {};

/// While training, sets activations to zero at random, and scales the others by 1 / (1 - p).
struct Dropout {
  double p = 0;             ///< of being dropped
  bool whole_maps = false;  ///< all pixels of a channel together
};

/// How a residual block's input reaches its sum.
enum class Shortcut {
  identity,
  projection,  ///< by parts of its own
  padding,     ///< every second pixel, new channels zero on both sides (He et al. 2015, option A)
};

struct Part;
/// One after the other.
using Parts = std::vector<Part>;

/// The sum of what `branch` makes of its input and of the shortcut.
struct Residual {
  std::string name;
  Parts branch;
  Shortcut shortcut = Shortcut::identity;
  Parts projection;         ///< of a shortcut that is one
  std::int64_t stride = 1;  ///< of a shortcut that pads
  std::int64_t out = 0;
};

/// One operation of a network, or a residual block of them.
struct Part {
  std::variant<Convolution, Linear, Norm, Relu, MaxPool, MeanPool, Flatten, Dropout, Residual> kind;
};

/// How weights are drawn at first. Batch norm's are 1 and 0 in all of them.
enum class Initialization {
  torchvision,  ///< convolutions normal, variance 2 / (out kh kw); linear maps as PyTorch draws them
  pytorch,      ///< uniform within 1 / sqrt(in kh kw), biases too
  xavier,       ///< convolutions uniform, variance 4 / ((in + out) kh kw), their biases 0; linear as PyTorch
};

/// A network, as data: what a plan, a cost and a forward pass need to know.
struct Architecture {
  std::string name;
  Parts parts;  ///< from images to logits; the last one is the classifier, a Linear
  std::int64_t in_channels = 3;
  std::int64_t num_classes = 0;
  std::optional<std::int64_t> image_side;  ///< the only one that it takes, where its maps have a fixed size
  Initialization initialization = Initialization::torchvision;
};

/// `resnet18`, 34, 50, 101, 152 with torchvision's names and shapes (stride on the 3x3 convolution of a
/// bottleneck); `resnet20`, 32, 44, 56, 110 for small images (He et al. 2015, section 4.2).
/// `wrn-DEPTH-WIDTH` for small images, as wrn-28-10: batch norm and ReLU before each convolution, which have
/// biases, and a convolution on every shortcut that changes the size (Zagoruyko and Komodakis 2016).
/// `mlp-LAYERSxWIDTH` and `cnn` for 28x28 images: linear maps with ReLU between them; two convolutions of 5x5
/// and two linear maps (both as the paper's code has them).
/// `dropout`: of the last three; 0 for the others. Images of another side than `image_side` are refused by
/// require_image_side().
/// Throws Error(usage) for another name, listing these, and for a dropout that the network has no place for.
[[nodiscard]] Architecture make_architecture(const std::string& name, std::int64_t in_channels,
                                             std::int64_t num_classes, double dropout = 0);
/// Throws Error(usage) where the network is for images of another side.
void require_image_side(const Architecture& architecture, std::int64_t side);
/// One of each kind where there are any sizes.
[[nodiscard]] const std::vector<std::string>& architecture_names();

}  // namespace slicereduce
