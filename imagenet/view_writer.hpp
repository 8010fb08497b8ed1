#pragma once

#include <chrono>
#include <cstdint>
#include <span>

#include "core/random.hpp"
#include "imagenet/decoder.hpp"
#include "imagenet/image_source.hpp"
#include "imagenet/resample.hpp"
#include "imagenet/transform.hpp"

namespace slicereduce {

/// Where the time of views goes.
struct ViewTimes {
  std::chrono::nanoseconds read{0};    ///< from the disk, or its cache
  std::chrono::nanoseconds decode{0};  ///< to pixels
  std::chrono::nanoseconds resize{0};  ///< and moving, mirroring

  ViewTimes& operator+=(const ViewTimes& other);
  ViewTimes operator-(const ViewTimes& other) const;
};

/// Turns stored pictures into rows of a batch. One a thread: its buffers are used again.
class ViewWriter {
 public:
  /// `source` must outlive it.
  explicit ViewWriter(const ImageSource& source) : source_(source) {}

  /// Writes a training view of picture `index` into `row` [image_size, image_size, channels], and returns how
  /// it was varied (for Augment::none, not at all). All chance comes from `random`. Throws Error(input)
  /// naming the picture.
  Variation write_training_view(std::int64_t index, const TransformConfig& config, RandomStream& random,
                                std::span<std::uint8_t> row);
  /// Its evaluation view.
  void write_evaluation_view(std::int64_t index, const TransformConfig& config, std::span<std::uint8_t> row);

  /// Of all views so far.
  [[nodiscard]] const ViewTimes& times() const { return times_; }

 private:
  /// Of the opened picture.
  [[nodiscard]] Region decoded(const CropBox& box, const TransformConfig& config);
  template <typename Work>
  auto decoding(std::int64_t index, Work work);

  const ImageSource& source_;
  StoredImage stored_;
  Decoder decoder_;
  Resampler resampler_;
  ViewTimes times_;
};

}  // namespace slicereduce
