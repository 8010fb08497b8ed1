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

/// One split of a dataset, and how its images become tensors.
struct SplitData {
  std::unique_ptr<ImageSource> source;
  TransformConfig transform;
  Normalization normalization;

  /// `data` is a folder, or shards that are named themselves; `log` is told of what goes wrong without harm.
  /// Throws Error(input) where the split is not there.
  [[nodiscard]] static SplitData open(const std::string& data, const std::string& dataset, Split split,
                                      std::int64_t image_size, const Log& log);
};

/// A dataset's two splits, and how its images become tensors.
struct TrainingData {
  std::unique_ptr<ImageSource> train;
  std::unique_ptr<ImageSource> validation;
  TransformConfig transform;
  Normalization normalization;

  /// `validation_data` is where the validation split is; empty: where the other one is. Throws Error(input)
  /// where one is not there, or they have not the same classes and colours.
  [[nodiscard]] static TrainingData open(const std::string& data, const std::string& validation_data,
                                         const std::string& dataset, std::int64_t image_size, const Log& log);
};

}  // namespace slicereduce
