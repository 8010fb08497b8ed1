#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace slicereduce {

/// The channels of one site that a step keeps, out of `channels`.
struct ChannelSet {
  std::int64_t channels = 0;
  std::vector<std::int32_t> kept;  ///< ascending, each once
  std::vector<float> scale;        ///< empty, or the factor of each kept channel's activation

  [[nodiscard]] static ChannelSet all(std::int64_t channels);

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(kept.size()); }
  /// Keeps every channel as it is: nothing has to be gathered.
  [[nodiscard]] bool full() const { return size() == channels && scale.empty(); }
  /// Throws Error(invariant) unless `kept` is ascending, unique, in range, and not empty.
  void check() const;

  bool operator==(const ChannelSet&) const = default;
};

}  // namespace slicereduce
