// A sampler of your own, next to one of slicereduce's: which channels does either ever train?
#include "sampling/sampler.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "sampling/plan.hpp"

using namespace slicereduce;

namespace {

/// The channels of the largest norms, and a few of the others at random, so that none is left out for good.
class Explorer final : public Sampler {
 public:
  /// `share` of the kept channels are drawn at random.
  explicit Explorer(double share) : share_(share) {}

  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& random) const override {
    ChannelSet set = ChannelSet::all(candidates.channels());
    const std::int64_t k = size.kept(set.channels);
    const auto at_random = static_cast<std::int64_t>(share_ * static_cast<double>(k));
    // Stable: ranks choose the same channels without a message, so equal norms need an order, too.
    std::ranges::stable_sort(set.kept, std::greater<>(), [&](std::int32_t c) { return candidates.norms[c]; });
    for (std::int64_t i = k - at_random; i < k; ++i) {
      const auto others = static_cast<std::uint64_t>(set.channels - i);
      std::swap(set.kept[i], set.kept[i + static_cast<std::int64_t>(random.below(others))]);
    }
    set.kept.resize(k);
    std::ranges::sort(set.kept);
    return set;
  }
  /// Its choice never comes to rest, so the whole network is the run's result.
  [[nodiscard]] bool settles() const override { return false; }
  /// It keeps size.kept() channels, so `plan` can tell the bytes of a step before it is run.
  [[nodiscard]] bool fixed_size() const override { return true; }

 private:
  double share_;
};

/// How many channels of one site are in some plan of the first `steps`.
std::size_t channels_seen(const Sampler& sampler, std::uint64_t steps) {
  const std::vector<Site> sites{{.name = "layer1.0.conv2", .channels = 64, .row_site = {}}};
  std::vector<std::vector<float>> norms(1);
  for (int c = 0; c < 64; ++c) {
    norms[0].push_back(static_cast<float>(c % 16));
  }
  const SampleSize half{.ratio = 0.5, .minimal_k = 8, .channel_multiple = 8};
  std::set<std::int32_t> seen;
  for (std::uint64_t step = 0; step < steps; ++step) {
    const ChannelSet set = draw_plan(sites, norms, sampler, half, /*seed=*/1, step).sets.front();
    set.check();
    seen.insert(set.kept.begin(), set.kept.end());
  }
  return seen.size();
}

}  // namespace

int main() {
  const std::size_t of_topk = channels_seen(*make_sampler("topk"), 100);
  const std::size_t of_explorer = channels_seen(Explorer(0.25), 100);
  std::printf("channels of 64 that 100 steps have trained: topk %zu, explorer %zu\n", of_topk, of_explorer);
  return of_topk == 32 && of_explorer == 64 ? EXIT_SUCCESS : EXIT_FAILURE;
}
