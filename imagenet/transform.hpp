#pragma once

#include <cstdint>
#include <span>

#include "core/random.hpp"
#include "imagenet/image_source.hpp"
#include "imagenet/resample.hpp"

namespace slicereduce {

/// How training pictures are varied.
enum class Augment {
  none,          ///< as for evaluation
  pad_crop,      ///< zeros around the picture, a crop of its own size at a random place (CIFAR)
  resized_crop,  ///< a crop of random area and aspect ratio, resized (ImageNet, Inception)
};

/// How pictures are brought to the network's size for evaluation.
enum class EvalView {
  whole,        ///< the whole picture, resized only where its size differs
  center_crop,  ///< short side to image_size * 256 / 224, then the middle
};

/// What is decoded of a picture of which a training view shows a part.
enum class DecodeExtent {
  needed,  ///< that part, scaled down by the decoder where it is large
  whole,   ///< everything, as torchvision does it: slower, the same pixels as there
};

/// How a stored picture becomes a network's input.
struct TransformConfig {
  std::int64_t image_size = 224;  ///< side of the square that comes out, in pixels
  Augment augment = Augment::resized_crop;
  bool flip = true;          ///< mirror half of the training pictures; not for digits
  std::int64_t padding = 4;  ///< of Augment::pad_crop, in pixels on each side
  EvalView eval_view = EvalView::center_crop;
  DecodeExtent decode = DecodeExtent::needed;  ///< for training; evaluation decodes everything

  /// Throws Error(usage) naming the option.
  void validate() const;
};

/// What suits the pictures: small ones are padded and cropped (grey ones not mirrored, since they may be
/// digits), photographs get resized crops. `image_size` 0 means the pictures' own, or 224 for photographs.
[[nodiscard]] TransformConfig default_transform(const ImageSource& source, std::int64_t image_size);

/// A box of 8 to 100 % of the picture's area and an aspect ratio of 3/4 to 4/3 (log-uniform), anywhere
/// within: torchvision's RandomResizedCrop, after Szegedy et al. 2015, "Going deeper with convolutions".
/// After ten boxes that don't fit, as in very wide pictures, the largest central one whose ratio is allowed.
[[nodiscard]] CropBox random_resized_crop_box(Extent picture, RandomStream& random);

/// How a picture is varied, once: everything that chance decides.
struct Variation {
  CropBox box;               ///< what is seen of the picture, before it is resized
  std::int64_t down = 0;     ///< how far the resized picture is moved, in its pixels; zeros come in
  std::int64_t right = 0;    ///
  bool is_mirrored = false;  ///< after all that
};

/// The chance of one training view: whoever makes it, wherever.
[[nodiscard]] RandomStream augmentation(std::uint64_t seed, std::int64_t epoch, std::int64_t index);

/// Not for Augment::none. All chance comes from `random`: the same stream gives the
/// same variation.
[[nodiscard]] Variation draw_variation(Extent picture, const TransformConfig& config, RandomStream& random);

/// Writes a varied view into `row` [image_size, image_size, channels], a row of the batch. `region` is what
/// the variation's box is of the picture, however that was decoded.
void write_varied_view(const Region& region, const Variation& variation, const TransformConfig& config,
                       Resampler& resampler, std::span<std::uint8_t> row);

/// Writes the evaluation view of `image` into `row` [image_size, image_size, channels].
void write_evaluation_view(const Image& image, const TransformConfig& config, Resampler& resampler,
                           std::span<std::uint8_t> row);

}  // namespace slicereduce
