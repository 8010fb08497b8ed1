#include "imagenet/resample.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/error.hpp"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace slicereduce {

namespace {

// Lines between the passes hold levels of 1/128: 255 * 128 fits into 16 bits. A sum of the second pass is at
// most 255 * 2^7 * 2^14 < 2^29, however many weights there are, since they are not negative and sum to 2^14.
constexpr int kLineBits = 7;
constexpr int kRowShift = FilterAxis::kBits - kLineBits;
constexpr int kColumnShift = FilterAxis::kBits + kLineBits;
constexpr int half_of(int shift) { return 1 << (shift - 1); }
// How far the second pass may read behind its last tap.
constexpr std::int64_t kLineSlack = 8;

using Sources = std::span<const std::uint8_t* const>;

/// Values `from` to `to` of `line`: what `sources` have there, weighted.
void blend_rows_portable(Sources sources, const std::int16_t* weights, std::int64_t from, std::int64_t to,
                         std::int16_t* line) {
  std::array<std::int32_t, 64> sums;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled below
  for (std::int64_t at = from; at < to; at += std::ssize(sums)) {
    const std::int64_t count = std::min<std::int64_t>(std::ssize(sums), to - at);
    sums.fill(half_of(kRowShift));
    for (std::size_t k = 0; k < sources.size(); ++k) {
      for (std::int64_t i = 0; i < count; ++i) {
        sums[static_cast<std::size_t>(i)] += weights[k] * sources[k][at + i];
      }
    }
    for (std::int64_t i = 0; i < count; ++i) {
      line[at + i] = static_cast<std::int16_t>(sums[static_cast<std::size_t>(i)] >> kRowShift);
    }
  }
}

template <int channels>
void blend_columns_portable(const FilterAxis& axis, const std::int16_t* line, std::uint8_t* out) {
  for (std::int64_t x = 0; x < axis.outputs(); ++x) {
    const std::int16_t* const from = line + axis.first(x) * channels;
    const std::int16_t* const weights = axis.weights(x);
    std::array<std::int32_t, channels> sums;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled below
    sums.fill(half_of(kColumnShift));
    for (std::int64_t k = 0; k < axis.taps(); ++k) {
      for (std::size_t c = 0; c < channels; ++c) {
        sums[c] += weights[k] * from[k * channels + static_cast<std::int64_t>(c)];
      }
    }
    out = std::transform(sums.begin(), sums.end(), out,
                         [](std::int32_t sum) { return static_cast<std::uint8_t>(sum >> kColumnShift); });
  }
}

#ifdef __x86_64__

// Both passes multiply pairs of values with pairs of weights and add the two (pmaddwd).
__attribute__((target("avx2"))) __m256i pair_of_weights(const std::int16_t* weights) {
  std::int32_t pair = 0;
  std::memcpy(&pair, weights, sizeof(pair));
  return _mm256_set1_epi32(pair);
}

/// Calls `pass` with `taps` as a constant where there are few, as is usual, and 0 otherwise: loops over them
/// are then unrolled.
template <typename Pass>
void with_taps(std::int64_t taps, const Pass& pass) {
  switch (taps) {
    case 2:
      return pass(std::integral_constant<int, 2>());
    case 4:
      return pass(std::integral_constant<int, 4>());
    case 6:
      return pass(std::integral_constant<int, 6>());
    default:
      return pass(std::integral_constant<int, 0>());
  }
}

constexpr std::int64_t kRowBlock = 32;

template <int kTaps>
__attribute__((target("avx2"))) void blend_row_block(Sources sources, const std::int16_t* weights,
                                                     std::int64_t at, std::int16_t* line) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i sum0 = _mm256_set1_epi32(half_of(kRowShift));
  __m256i sum1 = sum0;
  __m256i sum2 = sum0;
  __m256i sum3 = sum0;
  const std::size_t taps = kTaps != 0 ? kTaps : sources.size();
#pragma GCC unroll 8
  for (std::size_t k = 0; k < taps; k += 2) {
    const __m256i pair = pair_of_weights(weights + k);
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sources[k] + at));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sources[k + 1] + at));
    const __m256i low = _mm256_unpacklo_epi8(a, b);
    const __m256i high = _mm256_unpackhi_epi8(a, b);
    sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(_mm256_unpacklo_epi8(low, zero), pair));
    sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(_mm256_unpackhi_epi8(low, zero), pair));
    sum2 = _mm256_add_epi32(sum2, _mm256_madd_epi16(_mm256_unpacklo_epi8(high, zero), pair));
    sum3 = _mm256_add_epi32(sum3, _mm256_madd_epi16(_mm256_unpackhi_epi8(high, zero), pair));
  }
  // Unpacking and packing work on halves of a register: values 0 to 15 are in the lower, 16 to 31 in the
  // upper.
  const __m256i left =
      _mm256_packs_epi32(_mm256_srai_epi32(sum0, kRowShift), _mm256_srai_epi32(sum1, kRowShift));
  const __m256i right =
      _mm256_packs_epi32(_mm256_srai_epi32(sum2, kRowShift), _mm256_srai_epi32(sum3, kRowShift));
  auto* const to = reinterpret_cast<__m256i*>(line + at);
  _mm256_storeu_si256(to, _mm256_permute2x128_si256(left, right, 0x20));
  _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(left, right, 0x31));
}

template <int kTaps>
__attribute__((target("avx2"))) void blend_rows_avx2(Sources sources, const std::int16_t* weights,
                                                     std::int64_t numel, std::int16_t* line) {
  std::int64_t at = 0;
  for (; at + kRowBlock <= numel; at += kRowBlock) {
    blend_row_block<kTaps>(sources, weights, at, line);
  }
  if (at < numel && numel >= kRowBlock) {
    blend_row_block<kTaps>(sources, weights, numel - kRowBlock,
                           line);  // some again: nothing is read behind a row
  } else {
    blend_rows_portable(sources, weights, at, numel, line);
  }
}

/// One output pixel of two lines, the upper's in the lower half: red, green, blue, nothing.
template <int kTaps>
__attribute__((target("avx2"))) inline __m256i blend_pixel(const std::int16_t* upper,
                                                           const std::int16_t* lower,
                                                           const std::int16_t* weights, std::int64_t taps) {
  // From r g b r g b . . to r r g g b b . . (16 bits each).
  const __m256i by_channel =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1));
  __m256i sum = _mm256_set1_epi32(half_of(kColumnShift));
#pragma GCC unroll 8
  for (std::int64_t k = 0; k < (kTaps != 0 ? kTaps : taps); k += 2) {
    const __m256i pixels = _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(lower + 3 * k),
                                               reinterpret_cast<const __m128i*>(upper + 3 * k));
    sum = _mm256_add_epi32(
        sum, _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, by_channel), pair_of_weights(weights + k)));
  }
  return _mm256_srai_epi32(sum, kColumnShift);
}

constexpr std::size_t kGroupBytes = 3 * FilterAxis::kGroup;

__attribute__((target("avx2"))) inline void store_group(__m128i group, std::uint8_t* out) {
  const std::int32_t last = _mm_extract_epi32(group, 2);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), group);
  std::memcpy(out + sizeof(std::int64_t), &last, sizeof(last));
}

/// Two output lines of three channels at once.
template <int kTaps>
__attribute__((target("avx2"))) void blend_columns_avx2(const FilterAxis& axis, const std::int16_t* upper,
                                                        const std::int16_t* lower, std::uint8_t* upper_out,
                                                        std::uint8_t* lower_out) {
  const __m256i without_fourth =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  for (std::int64_t x = 0; x < axis.outputs(); x += FilterAxis::kGroup) {
    const auto pixel = [&](std::int64_t i) __attribute__((target("avx2"))) {
      return blend_pixel<kTaps>(upper + 3 * axis.first(i), lower + 3 * axis.first(i), axis.weights(i),
                                axis.taps());
    };
    const __m256i values = _mm256_packus_epi16(_mm256_packs_epi32(pixel(x), pixel(x + 1)),
                                               _mm256_packs_epi32(pixel(x + 2), pixel(x + 3)));
    const __m256i group = _mm256_shuffle_epi8(values, without_fourth);
    const __m128i upper_group = _mm256_castsi256_si128(group);
    const __m128i lower_group = _mm256_extracti128_si256(group, 1);
    if (x + FilterAxis::kGroup <= axis.outputs()) {
      store_group(upper_group, upper_out + 3 * x);
      store_group(lower_group, lower_out + 3 * x);
      continue;
    }
    std::array<std::uint8_t, kGroupBytes> rest;  // NOLINT(cppcoreguidelines-pro-type-member-init)
    store_group(upper_group, rest.data());
    std::copy_n(rest.data(), 3 * (axis.outputs() - x), upper_out + 3 * x);
    store_group(lower_group, rest.data());
    std::copy_n(rest.data(), 3 * (axis.outputs() - x), lower_out + 3 * x);
  }
}

#endif

}  // namespace

FilterAxis::Window FilterAxis::window(std::int64_t i) const {
  const double centre = start_ + (static_cast<double>(i) + 0.5) * scale_;
  const auto begin = std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support_ + 0.5));
  // No more than taps_, whatever was rounded: it is the number of pixels whose middle can be within.
  return {begin, std::min({size_, static_cast<std::int64_t>(centre + support_ + 0.5), begin + taps_}),
          centre};
}

void FilterAxis::weigh(const Window& window, std::int16_t* weights) {
  const std::int64_t count = window.end - window.begin;
  const double slope = 1 / support_;
  double sum = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    const double distance = std::abs(static_cast<double>(window.begin + k) + 0.5 - window.centre);
    sum += triangle_[static_cast<std::size_t>(k)] = std::max(0.0, 1 - distance * slope);
  }
  // What is rounded is the sum so far, not each weight: all of them are exactly kOne.
  const double factor = kOne / sum;
  double so_far = 0;
  std::int32_t before = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    so_far += triangle_[static_cast<std::size_t>(k)];
    const auto rounded = static_cast<std::int32_t>(so_far * factor + 0.5);
    weights[k] = static_cast<std::int16_t>(rounded - before);
    before = rounded;
  }
}

void FilterAxis::plan(double start, double length, std::int64_t size, std::int64_t outputs,
                      bool is_reversed) {
  start_ = start;
  scale_ = length / static_cast<double>(outputs);
  support_ = std::max(scale_, 1.0);
  size_ = size;
  outputs_ = outputs;
  taps_ = 2 * static_cast<std::int64_t>(std::ceil(support_));
  begin_ = window(0).begin;
  end_ = window(outputs - 1).end;
  const auto padded = static_cast<std::size_t>(outputs + kGroup - 1);
  firsts_.assign(padded, 0);
  weights_.assign(padded * static_cast<std::size_t>(taps_), 0);
  triangle_.resize(static_cast<std::size_t>(taps_));
  for (std::int64_t i = 0; i < outputs; ++i) {
    const Window seen = window(is_reversed ? outputs - 1 - i : i);
    firsts_[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(seen.begin - begin_);
    weigh(seen, weights_.data() + i * taps_);
  }
}

Resampler::Code Resampler::best_code() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) {
    return Code::avx2;
  }
#endif
  return Code::portable;
}

void Resampler::blend_rows(const PixelView& seen, std::int64_t y, std::int16_t* line) {
  sources_.resize(static_cast<std::size_t>(rows_.taps()));
  for (std::int64_t k = 0; k < rows_.taps(); ++k) {
    const std::int64_t row = std::min(rows_.first(y) + k, seen.extent.height - 1);
    sources_[static_cast<std::size_t>(k)] = seen.first + row * seen.stride;
  }
  const std::int64_t numel = seen.extent.width * seen.channels;
#ifdef __x86_64__
  if (code_ == Code::avx2) {
    return with_taps(rows_.taps(),
                     [&](auto taps) { blend_rows_avx2<taps>(sources_, rows_.weights(y), numel, line); });
  }
#endif
  blend_rows_portable(sources_, rows_.weights(y), 0, numel, line);
}

void Resampler::blend_columns(std::int64_t channels, std::uint8_t* upper, std::uint8_t* lower) const {
  const std::int16_t* const lines = lines_.data();
#ifdef __x86_64__
  if (code_ == Code::avx2 && channels == 3) {
    return with_taps(columns_.taps(), [&](auto taps) {
      blend_columns_avx2<taps>(columns_, lines, lines + line_numel_, upper, lower);
    });
  }
#endif
  const auto blend = channels == 3 ? blend_columns_portable<3> : blend_columns_portable<1>;
  blend(columns_, lines, upper);
  blend(columns_, lines + line_numel_, lower);
}

void Resampler::resample(const Region& region, Extent target, bool is_mirrored, std::span<std::uint8_t> out) {
  const auto& [pixels, box] = region;
  require(pixels.channels == 1 || pixels.channels == 3, "Resampler: expected 1 or 3 channels");
  require(box.is_within(pixels.extent), "Resampler: the box is not within the picture");
  require(target.height > 0 && target.width > 0 &&
              std::ssize(out) == target.height * target.width * pixels.channels,
          "Resampler: the output does not fit the target");
  rows_.plan(box.top, box.height, pixels.extent.height, target.height, false);
  columns_.plan(box.left, box.width, pixels.extent.width, target.width, is_mirrored);
  const PixelView seen = pixels.cut({rows_.begin(), columns_.begin(), rows_.seen(), columns_.seen()});
  line_numel_ = (seen.extent.width + columns_.taps()) * seen.channels + kLineSlack;
  if (const auto numel = static_cast<std::size_t>(2 * line_numel_); numel > lines_.size()) {
    lines_.resize(numel);
  }
  const std::int64_t row_numel = target.width * seen.channels;
  // Two rows at a time; the last one twice where their number is odd.
  for (std::int64_t y = 0; y < target.height; y += 2) {
    const std::int64_t next = std::min(y + 1, target.height - 1);
    blend_rows(seen, y, lines_.data());
    blend_rows(seen, next, lines_.data() + line_numel_);
    blend_columns(seen.channels, out.data() + y * row_numel, out.data() + next * row_numel);
  }
}

}  // namespace slicereduce
