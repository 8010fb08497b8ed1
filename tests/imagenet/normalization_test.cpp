#include "imagenet/normalization.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace slicereduce {
namespace {

void expect_normalized(const at::Tensor& images, const Normalization& normalization) {
  const at::Tensor result = normalize(images, normalization);
  const auto mean = at::tensor(normalization.mean, at::kDouble);
  const auto deviation = at::tensor(normalization.std, at::kDouble);
  const auto expected = ((images.to(at::kDouble) / 255 - mean) / deviation).permute({0, 3, 1, 2});
  EXPECT_EQ(result.scalar_type(), at::kFloat);
  EXPECT_EQ(result.sizes(), expected.sizes());
  EXPECT_TRUE(result.is_contiguous(at::MemoryFormat::ChannelsLast));
  // Values below 3 from a product and a sum below 5: three roundings of 2^-24 relative.
  EXPECT_LE((result.to(at::kDouble) - expected).abs().max().item<double>(), 3 * 5 * 0x1p-24);
}

TEST(Normalize, SubtractsTheMeanAndDividesByTheDeviation) {
  expect_normalized(at::randint(0, 256, {3, 5, 7, 3}, at::kByte), imagenet_normalization());
  expect_normalized(at::randint(0, 256, {3, 5, 7, 3}, at::kByte), cifar10_normalization());
  expect_normalized(at::randint(0, 256, {2, 28, 28, 1}, at::kByte), fashion_mnist_normalization());
}

TEST(Normalize, RoundsToANarrowerType) {
  const at::Tensor images = at::randint(0, 256, {3, 5, 7, 3}, at::kByte);
  const at::Tensor result = normalize(images, imagenet_normalization(), at::kBFloat16);
  const at::Tensor expected = normalize(images, imagenet_normalization());
  EXPECT_EQ(result.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(result.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE((result.to(at::kFloat) - expected).abs().le(expected.abs() * 0x1p-8).all().item<bool>());
}

TEST(Normalize, KeepsAnEmptyBatchEmpty) {
  EXPECT_EQ(normalize(at::randint(0, 256, {0, 4, 4, 3}, at::kByte), imagenet_normalization()).sizes(),
            (std::vector<std::int64_t>{0, 3, 4, 4}));
}

TEST(Normalize, RefusesOtherChannels) {
  EXPECT_THROW((void)normalize(at::randint(0, 256, {1, 4, 4, 1}, at::kByte), imagenet_normalization()),
               Error);
}

}  // namespace
}  // namespace slicereduce
