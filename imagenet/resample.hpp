#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "imagenet/image.hpp"

namespace slicereduce {

/// The weights of one axis of a bilinear filter with antialiasing, as Pillow has them (libImaging/Resample.c,
/// precompute_coeffs): output i sees the triangle of half-width max(scale, 1) around
/// start + (i + 0.5) * scale, where scale = length / outputs, cut off at the ends of the line and brought to
/// a sum of 1. Here a sum of kOne, in whole numbers.
class FilterAxis {
 public:
  static constexpr int kBits = 14;
  static constexpr int kOne = 1 << kBits;
  /// Outputs are made that many at a time: behind the last there are some of weight 0.
  static constexpr std::int64_t kGroup = 4;

  /// From `start` to `start` + `length` of a line of `size` pixels to `outputs` pixels. Reversed: the last
  /// one first.
  void plan(double start, double length, std::int64_t size, std::int64_t outputs, bool is_reversed);

  /// The first pixel that any output sees, and how many there are to the last.
  [[nodiscard]] std::int64_t begin() const { return begin_; }
  [[nodiscard]] std::int64_t seen() const { return end_ - begin_; }
  [[nodiscard]] std::int64_t outputs() const { return outputs_; }
  /// The first pixel that output i sees, from begin(): of it and the taps() - 1 that follow (past the last
  /// seen one, perhaps, with weight 0) output i is the sum with these weights.
  [[nodiscard]] std::int64_t first(std::int64_t i) const { return firsts_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] const std::int16_t* weights(std::int64_t i) const { return weights_.data() + i * taps_; }
  /// An even number.
  [[nodiscard]] std::int64_t taps() const { return taps_; }

 private:
  struct Window {
    std::int64_t begin;
    std::int64_t end;
    double centre;
  };
  [[nodiscard]] Window window(std::int64_t i) const;
  void weigh(const Window& window, std::int16_t* weights);

  double start_ = 0;
  double scale_ = 1;
  double support_ = 1;
  std::int64_t size_ = 0;
  std::int64_t outputs_ = 0;
  std::int64_t taps_ = 0;
  std::int64_t begin_ = 0;
  std::int64_t end_ = 0;
  std::vector<std::int32_t> firsts_;
  std::vector<std::int16_t> weights_;  ///< [outputs, taps], and kGroup - 1 outputs more
  std::vector<double> triangle_;       ///< [taps], scratch
};

/// Resizes pictures: bilinear with antialiasing, as Pillow's Image.resize(size, BILINEAR, box=box). Values
/// are rounded to the nearest level once. Before that they are within 0.01 levels of exact ones for each tap
/// of the filter: two each way where a picture is enlarged, about twice the scale where it is made smaller.
/// Pillow rounds between its two passes too: of views of 200 photographs 84 % of the values were the same,
/// all others one level off. All arithmetic on pixels is on whole numbers: every processor gives the same
/// bits.
///
/// Keeps its tables and buffers: it allocates nothing for pictures no larger than earlier ones. One a thread.
class Resampler {
 public:
  enum class Code { portable, avx2 };
  /// What this processor does best.
  [[nodiscard]] static Code best_code();

  explicit Resampler(Code code = best_code()) : code_(code) {}

  /// Writes `region`, resized to `target` and then perhaps mirrored, to `out` [height, width, channels].
  /// Where the filter reaches out of the box it sees what `region.pixels` have there. 1 or 3 channels.
  void resample(const Region& region, Extent target, bool is_mirrored, std::span<std::uint8_t> out);

 private:
  void blend_rows(const PixelView& seen, std::int64_t y, std::int16_t* line);
  void blend_columns(std::int64_t channels, std::uint8_t* upper, std::uint8_t* lower) const;

  Code code_;
  FilterAxis rows_;
  FilterAxis columns_;
  std::vector<const std::uint8_t*> sources_;  ///< [rows_.taps()]
  std::vector<std::int16_t> lines_;           ///< two, line_numel_ apart
  std::int64_t line_numel_ = 0;
};

}  // namespace slicereduce
