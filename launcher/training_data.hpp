#pragma once

#include <cstdint>
#include <memory>

#include "imagenet/image_source.hpp"
#include "imagenet/normalization.hpp"
#include "imagenet/transform.hpp"
#include "launcher/train_options.hpp"

namespace slicereduce {

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
