#include "imagenet/normalization.hpp"

#include <ATen/ops/addcmul.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "core/error.hpp"

namespace slicereduce {

Normalization imagenet_normalization() { return {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}; }

Normalization cifar10_normalization() { return {{0.4914, 0.4822, 0.4465}, {0.2470, 0.2435, 0.2616}}; }

Normalization fashion_mnist_normalization() { return {{0.2860}, {0.3530}}; }

Normalization default_normalization(const ImageSource& source) {
  if (source.channels() == 1) {
    return fashion_mnist_normalization();
  }
  return has_small_images(source) ? cifar10_normalization() : imagenet_normalization();
}

at::Tensor normalize(const at::Tensor& images, const Normalization& normalization, at::ScalarType type) {
  require(images.dim() == 4 && images.scalar_type() == at::kByte, "normalize: expected uint8 [N, H, W, C]");
  const std::int64_t channels = images.size(3);
  require(static_cast<std::int64_t>(normalization.mean.size()) == channels &&
              static_cast<std::int64_t>(normalization.std.size()) == channels,
          "normalize: as many means and deviations as channels");
  // (x / 255 - mean) / std = x * scale + shift
  at::Tensor scale_and_shift = at::empty({2, 1, channels, 1, 1}, at::kFloat);
  auto* values = scale_and_shift.mutable_data_ptr<float>();
  for (std::int64_t c = 0; c < channels; ++c) {
    const auto at = static_cast<std::size_t>(c);
    values[c] = static_cast<float>(1 / (255 * normalization.std[at]));
    values[channels + c] = static_cast<float>(-normalization.mean[at] / normalization.std[at]);
  }
  // Non-blocking: CUDA stages so few bytes before it returns, and waiting would drain the stream every step.
  scale_and_shift = scale_and_shift.to(images.device(), /*non_blocking=*/true);
  const at::Tensor pixels = images.permute({0, 3, 1, 2});
  // Type promotion converts to float within the operation, without a pass of its own.
  if (type == at::kFloat) {
    return pixels.mul(scale_and_shift[0]).add_(scale_and_shift[1]);
  }
  at::Tensor normalized = at::empty_like(pixels, pixels.options().dtype(type));
  return at::addcmul_out(normalized, scale_and_shift[1], pixels, scale_and_shift[0]);
}

}  // namespace slicereduce
