#include "imagenet/transform.hpp"

#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr double kLeastArea = 0.08;
constexpr double kGreatestRatio = 4.0 / 3.0;  // width / height; the least is its inverse

CropBox whole_of(const Image& image) { return {0, 0, image.height, image.width}; }

CropBox central_box(Extent picture, Extent box) {
  // Half a pixel goes to the even side, as in torchvision: the pixels its weights are evaluated on.
  const auto margin = [](std::int64_t room) { return std::lrint(static_cast<double>(room) / 2); };
  return {margin(picture.height - box.height), margin(picture.width - box.width), box.height, box.width};
}

void check_row(const Image& image, std::int64_t image_size, std::span<std::uint8_t> row) {
  require(static_cast<std::int64_t>(row.size()) == image_size * image_size * image.channels,
          "transform: the row does not fit the picture");
}

/// A [1, C, H, W] view of bytes stored [H, row_width, C]: LibTorch resizes channels_last without a copy.
at::Tensor channels_last_view(std::uint8_t* first, Extent extent, std::int64_t row_width,
                              std::int64_t channels) {
  return at::from_blob(first, {1, channels, extent.height, extent.width},
                       {extent.height * row_width * channels, 1, row_width * channels, channels}, at::kByte);
}

void resize_to(const Image& image, const CropBox& box, Extent target, std::uint8_t* out) {
  // from_blob takes no const; the input is only read.
  auto* pixels = const_cast<std::uint8_t*>(image.pixels.data());
  const auto input = channels_last_view(pixels + (box.top * image.width + box.left) * image.channels,
                                        {box.height, box.width}, image.width, image.channels);
  auto output = channels_last_view(out, target, target.width, image.channels);
  at::_upsample_bilinear2d_aa_out(output, input, {target.height, target.width}, /*align_corners=*/false);
}

void copy_box(const Image& image, const CropBox& box, std::uint8_t* out) {
  const std::int64_t row_bytes = box.width * image.channels;
  for (std::int64_t y = 0; y < box.height; ++y) {
    const auto* from = image.pixels.data() + ((box.top + y) * image.width + box.left) * image.channels;
    out = std::copy_n(from, row_bytes, out);
  }
}

void mirror(std::int64_t image_size, std::int64_t channels, std::span<std::uint8_t> row) {
  for (std::int64_t y = 0; y < image_size; ++y) {
    std::uint8_t* left = row.data() + y * image_size * channels;
    std::uint8_t* right = left + (image_size - 1) * channels;
    for (; left < right; left += channels, right -= channels) {
      std::swap_ranges(left, left + channels, right);
    }
  }
}

/// Moves the picture by up to `padding` each way; what comes in at the edges is zero.
void shift_randomly(std::int64_t image_size, std::int64_t channels, std::int64_t padding,
                    RandomStream& random, std::span<std::uint8_t> row) {
  const auto draw = [&] { return static_cast<std::int64_t>(random.below(2 * padding + 1)) - padding; };
  const std::int64_t down = draw();
  const std::int64_t right = draw();
  const std::vector<std::uint8_t> picture(row.begin(), row.end());
  std::fill(row.begin(), row.end(), std::uint8_t{0});
  const std::int64_t columns = image_size - std::abs(right);
  for (std::int64_t y = std::max<std::int64_t>(0, -down); y < std::min(image_size, image_size - down); ++y) {
    const std::int64_t from = y * image_size + std::max<std::int64_t>(0, -right);
    const std::int64_t to = (y + down) * image_size + std::max<std::int64_t>(0, right);
    std::copy_n(picture.begin() + from * channels, columns * channels, row.begin() + to * channels);
  }
}

void write_center_crop(const Image& image, std::int64_t image_size, std::span<std::uint8_t> row) {
  // What the crop can't see is left out first: resizing all of a 1 x 100,000 picture would take gigabytes.
  const std::int64_t most = 4 * std::min(image.height, image.width);
  const Extent seen{std::min(image.height, most), std::min(image.width, most)};
  const std::int64_t short_side = std::min(seen.height, seen.width);
  const std::int64_t target = image_size * 256 / 224;
  const Extent resized{target * seen.height / short_side, target * seen.width / short_side};
  Image scaled{resized.height, resized.width, image.channels, {}};
  scaled.pixels.resize(static_cast<std::size_t>(resized.height * resized.width * image.channels));
  resize_to(image, central_box(image.extent(), seen), resized, scaled.pixels.data());
  copy_box(scaled, central_box(resized, {image_size, image_size}), row.data());
}

}  // namespace

void TransformConfig::validate() const {
  constexpr std::int64_t kMostSide = 4096;
  if (image_size < 1 || image_size > kMostSide) {
    throw Error(ErrorKind::usage, concat("--image-size ", image_size, ": expected 1 to ", kMostSide));
  }
  require(padding >= 0 && padding <= image_size, "TransformConfig: padding must be 0 to image_size");
}

TransformConfig default_transform(const ImageSource& source, std::int64_t image_size) {
  TransformConfig config;
  if (has_small_images(source)) {
    const Extent extent = source.fixed_extent().value_or(Extent{});
    config.image_size = std::max(extent.height, extent.width);
    config.augment = Augment::pad_crop;
    config.flip = source.channels() == 3;
    config.eval_view = EvalView::whole;
  }
  if (image_size != 0) {
    config.image_size = image_size;
  }
  config.padding = std::min(config.padding, config.image_size);
  config.validate();
  return config;
}

CropBox random_resized_crop_box(Extent picture, RandomStream& random) {
  const auto area = static_cast<double>(picture.height * picture.width);
  constexpr int kTries = 10;
  for (int i = 0; i < kTries; ++i) {
    const double box_area = area * (kLeastArea + (1 - kLeastArea) * random.uniform());
    const double ratio = std::pow(kGreatestRatio, 2 * random.uniform() - 1);
    const Extent box{std::llround(std::sqrt(box_area / ratio)), std::llround(std::sqrt(box_area * ratio))};
    if (box.height < 1 || box.width < 1 || box.height > picture.height || box.width > picture.width) {
      continue;
    }
    const auto place = [&random](std::int64_t room) {
      return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(room) + 1));
    };
    const std::int64_t top = place(picture.height - box.height);
    return {top, place(picture.width - box.width), box.height, box.width};
  }
  const auto limited = [](std::int64_t side, std::int64_t other) {
    return std::min(side,
                    std::max<std::int64_t>(1, std::llround(static_cast<double>(other) * kGreatestRatio)));
  };
  return central_box(picture,
                     {limited(picture.height, picture.width), limited(picture.width, picture.height)});
}

void resize_box(const Image& image, const CropBox& box, std::int64_t image_size,
                std::span<std::uint8_t> row) {
  check_row(image, image_size, row);
  require(box.top >= 0 && box.left >= 0 && box.height > 0 && box.width > 0 &&
              box.top + box.height <= image.height && box.left + box.width <= image.width,
          "resize_box: the box is not within the picture");
  if (box.height == image_size && box.width == image_size) {
    copy_box(image, box, row.data());
    return;
  }
  resize_to(image, box, {image_size, image_size}, row.data());
}

void write_training_view(const Image& image, const TransformConfig& config, RandomStream& random,
                         std::span<std::uint8_t> row) {
  switch (config.augment) {
    case Augment::none:
      write_evaluation_view(image, config, row);
      return;
    case Augment::pad_crop:
      resize_box(image, whole_of(image), config.image_size, row);
      shift_randomly(config.image_size, image.channels, config.padding, random, row);
      break;
    case Augment::resized_crop:
      resize_box(image, random_resized_crop_box(image.extent(), random), config.image_size, row);
      break;
  }
  if (config.flip && random.below(2) == 1) {
    mirror(config.image_size, image.channels, row);
  }
}

void write_evaluation_view(const Image& image, const TransformConfig& config, std::span<std::uint8_t> row) {
  check_row(image, config.image_size, row);
  if (config.eval_view == EvalView::whole) {
    resize_box(image, whole_of(image), config.image_size, row);
  } else {
    write_center_crop(image, config.image_size, row);
  }
}

}  // namespace slicereduce
