#include "sampling/plan.hpp"

#include <algorithm>
#include <array>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/random.hpp"

namespace slicereduce {

Plan Plan::full(std::span<const Site> sites) {
  Plan plan;
  for (const auto& site : sites) {
    plan.sets.push_back(ChannelSet::all(site.channels));
  }
  return plan;
}

bool Plan::full() const {
  return std::all_of(sets.begin(), sets.end(), [](const ChannelSet& set) { return set.full(); });
}

std::uint64_t Plan::digest() const {
  Digest digest;
  for (const auto& set : sets) {
    const std::array<std::int64_t, 3> sizes{set.channels, set.size(),
                                            static_cast<std::int64_t>(set.scale.size())};
    digest.add_values(std::span<const std::int64_t>(sizes));
    digest.add_values(std::span<const std::int32_t>(set.kept));
    digest.add_values(std::span<const float>(set.scale));
  }
  return digest.value();
}

Plan draw_plan(std::span<const Site> sites, std::span<const std::vector<float>> norms, const Sampler& sampler,
               const SampleSize& size, std::uint64_t seed, std::uint64_t step) {
  require(sites.size() == norms.size(), "a plan needs the norms of every site");
  Plan plan;
  for (std::size_t s = 0; s < sites.size(); ++s) {
    RandomStream random(seed, RandomPurpose::plan, step, s);
    plan.sets.push_back(draw_set(sampler, {.norms = norms[s], .waiting = {}}, size, random));
    plan.sets.back().check();
  }
  return plan;
}

}  // namespace slicereduce
