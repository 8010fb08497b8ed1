#pragma once

#include <cstdint>
#include <memory>

#include "core/log.hpp"
#include "imagenet/image_source.hpp"
#include "imagenet/loader.hpp"
#include "imagenet/normalization.hpp"
#include "imagenet/transform.hpp"
#include "launcher/train_options.hpp"

namespace slicereduce {

/// Loads on `threads` threads as `--bad-images` says; `log` is told of pictures that are skipped. Throws
/// Error(usage) naming the option.
[[nodiscard]] LoaderConfig loader_config(int threads, std::uint64_t seed, const std::string& bad_images,
                                         const Log& log);

/// Throws Error(usage) naming the option.
[[nodiscard]] DecodeExtent parse_decode(const std::string& name);

/// A dataset's two splits, and how its images become tensors.
struct TrainingData {
  std::unique_ptr<ImageSource> train;
  std::unique_ptr<ImageSource> validation;
  TransformConfig transform;
  Normalization normalization;

  /// Throws Error(input) where the folder does not hold both splits.
  [[nodiscard]] static TrainingData open(const std::string& folder, const std::string& dataset,
                                         std::int64_t image_size);
};

}  // namespace slicereduce
