#pragma once

#include <ATen/core/PhiloxRNGEngine.h>

#include <cstdint>

namespace slicereduce {

/// What a stream of random numbers is for: streams of different purposes never meet.
enum class RandomPurpose : std::uint64_t {
  weights = 1,
  plan = 2,
  order = 3,
  augment = 4,
  run = 5,
  low_rank = 6,
  terms = 7,
  dropout = 8
};

/// Which random numbers something draws: a function of seed and step, and independent for each `part`.
struct DrawKey {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::uint64_t part = 0;
};

/// Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a function of (seed, purpose, a,
/// b) and nothing else, so that every rank and every thread can draw the same or independent numbers
/// without a message. `a` and `b` are, for instance, step and layer, or epoch and image.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, RandomPurpose purpose, std::uint64_t a, std::uint64_t b);

  /// Uniform over all 32-bit values.
  std::uint32_t bits() { return engine_(); }
  /// Uniform in the open interval (0, 1), 24 bits: its logarithm is always finite.
  double uniform() { return (static_cast<double>(engine_() >> 8) + 0.5) * 0x1p-24; }
  /// Uniform in [0, bound), without bias. Requires bound > 0.
  std::uint64_t below(std::uint64_t bound);

 private:
  at::Philox4_32 engine_;
};

}  // namespace slicereduce
