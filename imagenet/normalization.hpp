#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// Mean and standard deviation of each channel, where pixels range from 0 to 1.
struct Normalization {
  std::vector<double> mean;
  std::vector<double> std;
};

/// Of ImageNet's training set, as torchvision's weights were trained with.
[[nodiscard]] Normalization imagenet_normalization();
/// Of CIFAR-10's 50,000 training pictures.
[[nodiscard]] Normalization cifar10_normalization();
/// Of Fashion-MNIST's 60,000 training pictures.
[[nodiscard]] Normalization fashion_mnist_normalization();

/// By what the pictures are: grey, small and coloured, or photographs.
[[nodiscard]] Normalization default_normalization(const ImageSource& source);

/// `images` uint8 [N, H, W, C] on any device to [N, C, H, W] in channels_last there, computed in float and
/// rounded to `type`: the same order in memory, so that it is one pass, or for float two. Enqueued on the
/// current stream.
[[nodiscard]] at::Tensor normalize(const at::Tensor& images, const Normalization& normalization,
                                   at::ScalarType type = at::kFloat);

}  // namespace slicereduce
