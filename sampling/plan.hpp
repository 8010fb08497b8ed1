#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sampling/channel_set.hpp"
#include "sampling/sampler.hpp"

namespace slicereduce {

/// A place in a network where channels are chosen: the input of one convolution, or of several that
/// share their input; or, where only gradients are cut, the columns or the rows of one parameter.
struct Site {
  std::string name;
  std::int64_t channels = 0;
  /// Keeps a group of neighbours, each group in its turn, instead of what a sampler draws.
  bool in_turn = false;
  /// The site of the same parameter's rows, if those go in turn. A column that is kept with one group of rows
  /// still waits with the others, so its waits are counted group by group.
  std::optional<std::size_t> row_site;
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

/// Draws each site's set with a sampler that does not count draws. `norms[s]` has one value a channel of site
/// s. A function of its arguments: site s of step t draws from the random stream (seed, plan, t, s).
[[nodiscard]] Plan draw_plan(std::span<const Site> sites, std::span<const std::vector<float>> norms,
                             const Sampler& sampler, const SampleSize& size, std::uint64_t seed,
                             std::uint64_t step);

}  // namespace slicereduce
