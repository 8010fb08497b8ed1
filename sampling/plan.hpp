#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sampling/channel_set.hpp"
#include "sampling/sampler.hpp"

namespace slicereduce {

/// A place in a network where channels are chosen: the input of one convolution, or of several that
/// share their input.
struct Site {
  std::string name;
  std::int64_t channels = 0;
};

/// Which channels every site keeps in a step. The same on every rank.
struct Plan {
  std::vector<ChannelSet> sets;  ///< one a site, in the network's order

  /// Keeps everything: the exact network.
  [[nodiscard]] static Plan full(std::span<const Site> sites);
  [[nodiscard]] bool full() const;
  /// Of all sets and scales, in order. Ranks compare it before they reduce anything.
  [[nodiscard]] std::uint64_t digest() const;

  bool operator==(const Plan&) const = default;
};

/// Draws each site's set. `norms[s]` has one value a channel of site s. A function of its arguments:
/// site s of step t draws from the random stream (seed, plan, t, s).
[[nodiscard]] Plan draw_plan(std::span<const Site> sites, std::span<const std::vector<float>> norms,
                             const Sampler& sampler, const SampleSize& size, std::uint64_t seed,
                             std::uint64_t step);

}  // namespace slicereduce
