#include "imagenet/transform.hpp"

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

/// Moves the picture in place; what comes in at the edges is zero.
void shift(std::int64_t image_size, std::int64_t channels, std::int64_t down, std::int64_t right,
           std::span<std::uint8_t> row) {
  const auto filled = [image_size](std::int64_t by) {
    return std::pair(std::max<std::int64_t>(0, by), image_size + std::min<std::int64_t>(0, by));
  };
  const auto [top, bottom] = filled(down);
  const auto [from, to] = filled(right);
  const std::int64_t stride = image_size * channels;
  const std::int64_t back = down * stride + right * channels;
  const auto move_line = [&](std::int64_t y) {
    std::uint8_t* const line = row.data() + y * stride;
    if (y < top || y >= bottom) {
      std::memset(line, 0, static_cast<std::size_t>(stride));
      return;
    }
    std::memmove(line + from * channels, line + from * channels - back,
                 static_cast<std::size_t>((to - from) * channels));
    std::memset(line, 0, static_cast<std::size_t>(from * channels));
    std::memset(line + to * channels, 0, static_cast<std::size_t>((image_size - to) * channels));
  };
  // A line must be read before it is written.
  for (std::int64_t i = 0; i < image_size; ++i) {
    move_line(down > 0 ? image_size - 1 - i : i);
  }
}

/// What the evaluation view shows: the middle square of the picture resized to a short side of
/// image_size * 256 / 224. Resizing the box that this square is of the picture gives the same pixels, without
/// the others.
FractionalBox evaluation_box(Extent picture, std::int64_t image_size) {
  const std::int64_t short_side = std::min(picture.height, picture.width);
  const std::int64_t target = image_size * 256 / 224;
  const Extent resized{target * picture.height / short_side, target * picture.width / short_side};
  const CropBox crop = central_box(resized, {image_size, image_size});
  const auto back = [](std::int64_t at, std::int64_t side, std::int64_t resized_side) {
    return static_cast<double>(at * side) / static_cast<double>(resized_side);
  };
  return {back(crop.top, picture.height, resized.height), back(crop.left, picture.width, resized.width),
          back(crop.height, picture.height, resized.height), back(crop.width, picture.width, resized.width)};
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

RandomStream augmentation(std::uint64_t seed, std::int64_t epoch, std::int64_t index) {
  return {seed, RandomPurpose::augment, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(index)};
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

void write_varied_view(const Region& region, const Variation& variation, const TransformConfig& config,
                       Resampler& resampler, std::span<std::uint8_t> row) {
  const Extent square{config.image_size, config.image_size};
  resampler.resample(region, square, variation.is_mirrored, row);
  if (variation.down != 0 || variation.right != 0) {
    // It is mirrored after having been moved: what was moved right comes out moved left.
    const std::int64_t right = variation.is_mirrored ? -variation.right : variation.right;
    shift(config.image_size, region.pixels.channels, variation.down, right, row);
  }
}

void write_evaluation_view(const Image& image, const TransformConfig& config, Resampler& resampler,
                           std::span<std::uint8_t> row) {
  const FractionalBox box = config.eval_view == EvalView::whole
                                ? FractionalBox::whole(image.extent())
                                : evaluation_box(image.extent(), config.image_size);
  resampler.resample({PixelView::of(image), box}, {config.image_size, config.image_size}, false, row);
}

}  // namespace slicereduce
