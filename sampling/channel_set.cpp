#include "sampling/channel_set.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "core/error.hpp"

namespace slicereduce {

ChannelSet ChannelSet::all(std::int64_t channels) {
  ChannelSet set{.channels = channels, .kept = std::vector<std::int32_t>(channels), .scale = {}};
  std::iota(set.kept.begin(), set.kept.end(), 0);
  return set;
}

void ChannelSet::check() const {
  require(!kept.empty(), "a channel set is empty");
  require(kept.front() >= 0 && kept.back() < channels, "a channel set is out of range");
  require(std::adjacent_find(kept.begin(), kept.end(), std::greater_equal<>()) == kept.end(),
          "a channel set is not ascending");
  require(scale.empty() || scale.size() == kept.size(), "a channel set has another number of scales");
}

}  // namespace slicereduce
