#include "imagenet/transform.hpp"

#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr double kLeastArea = 0.08;
constexpr double kGreatestRatio = 4.0 / 3.0;  // width / height; the least is its inverse

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

/// Moves the picture in place; what comes in at the edges is zero.
void shift(std::int64_t image_size, std::int64_t channels, const Variation& variation,
           std::span<std::uint8_t> row) {
  const auto [top, bottom] = std::pair(std::max<std::int64_t>(0, variation.down),
                                       image_size + std::min<std::int64_t>(0, variation.down));
  const auto [left, right] = std::pair(std::max<std::int64_t>(0, variation.right),
                                       image_size + std::min<std::int64_t>(0, variation.right));
  const std::int64_t stride = image_size * channels;
  const std::int64_t back = variation.down * stride + variation.right * channels;
  const auto move_line = [&](std::int64_t y) {
    std::uint8_t* const line = row.data() + y * stride;
    if (y < top || y >= bottom) {
      std::memset(line, 0, static_cast<std::size_t>(stride));
      return;
    }
    std::memmove(line + left * channels, line + left * channels - back,
                 static_cast<std::size_t>((right - left) * channels));
    std::memset(line, 0, static_cast<std::size_t>(left * channels));
    std::memset(line + right * channels, 0, static_cast<std::size_t>((image_size - right) * channels));
  };
  // A line must be read before it is written.
  for (std::int64_t i = 0; i < image_size; ++i) {
    move_line(variation.down > 0 ? image_size - 1 - i : i);
  }
}

void write_center_crop(const Image& image, std::int64_t image_size, Image& scaled,
                       std::span<std::uint8_t> row) {
  // What the crop can't see is left out first: resizing all of a 1 x 100,000 picture would take gigabytes.
  const std::int64_t most = 4 * std::min(image.height, image.width);
  const Extent seen{std::min(image.height, most), std::min(image.width, most)};
  const std::int64_t short_side = std::min(seen.height, seen.width);
  const std::int64_t target = image_size * 256 / 224;
  const Extent resized{target * seen.height / short_side, target * seen.width / short_side};
  scaled.resize(resized, image.channels);
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
  require(box.is_within(image.extent()), "resize_box: the box is not within the picture");
  if (box.height == image_size && box.width == image_size) {
    copy_box(image, box, row.data());
    return;
  }
  resize_to(image, box, {image_size, image_size}, row.data());
}

RandomStream augmentation(std::uint64_t seed, std::int64_t epoch, std::int64_t index) {
  return {seed, RandomPurpose::augment, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(index)};
}

void resize(const Image& image, Extent target, Image& into) {
  into.resize(target, image.channels);
  resize_to(image, CropBox::whole(image.extent()), target, into.pixels.data());
}

Variation draw_variation(Extent picture, const TransformConfig& config, RandomStream& random) {
  require(config.augment != Augment::none, "draw_variation: nothing is to be varied");
  Variation variation{.box = CropBox::whole(picture)};
  switch (config.augment) {
    case Augment::none:
      break;
    case Augment::pad_crop: {
      const auto draw = [&] {
        return static_cast<std::int64_t>(random.below(2 * config.padding + 1)) - config.padding;
      };
      variation.down = draw();
      variation.right = draw();
      break;
    }
    case Augment::resized_crop:
      variation.box = random_resized_crop_box(picture, random);
      break;
  }
  variation.is_mirrored = config.flip && random.below(2) == 1;
  return variation;
}

void write_varied_view(const Image& image, const CropBox& box, const Variation& variation,
                       const TransformConfig& config, std::span<std::uint8_t> row) {
  resize_box(image, box, config.image_size, row);
  if (variation.down != 0 || variation.right != 0) {
    shift(config.image_size, image.channels, variation, row);
  }
  if (variation.is_mirrored) {
    mirror(config.image_size, image.channels, row);
  }
}

void write_evaluation_view(const Image& image, const TransformConfig& config, Image& scaled,
                           std::span<std::uint8_t> row) {
  check_row(image, config.image_size, row);
  if (config.eval_view == EvalView::whole) {
    resize_box(image, CropBox::whole(image.extent()), config.image_size, row);
  } else {
    write_center_crop(image, config.image_size, scaled, row);
  }
}

}  // namespace slicereduce
