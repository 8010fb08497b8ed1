#include "sampling/planner.hpp"

#include <algorithm>
#include <numeric>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

void count_draw(const ChannelSet& set, std::span<std::uint32_t> waiting) {
  for (auto& draws : waiting) {
    ++draws;
  }
  for (const std::int32_t channel : set.kept) {
    waiting[channel] = 0;
  }
}

}  // namespace

void SamplingConfig::validate() const {
  size.validate();
  (void)make_sampler(sampler);
  if (resample_every < 1) {
    throw Error(ErrorKind::usage,
                concat("resample_every = ", resample_every, ": expected at least 1 (--resample-every)"));
  }
  if (anneal_steps < 1) {
    throw Error(ErrorKind::usage,
                concat("anneal_steps = ", anneal_steps, ": expected at least 1 (--anneal-steps)"));
  }
  require(row_groups >= 1, "rows are cut into no groups");
}

ChannelSet neighbours(std::int64_t channels, std::int64_t groups, std::int64_t group) {
  groups = std::min(groups, channels);
  group %= groups;
  const std::int64_t first = channels * group / groups;
  const std::int64_t end = channels * (group + 1) / groups;
  ChannelSet set{.channels = channels, .kept = {}, .scale = {}};
  set.kept.resize(end - first);
  std::iota(set.kept.begin(), set.kept.end(), static_cast<std::int32_t>(first));
  return set;
}

Planner::Planner(std::vector<Site> sites, const SamplingConfig& config, std::uint64_t seed)
    : sites_(std::move(sites)), config_(config), seed_(seed), sampler_(make_sampler(config.sampler)) {
  state_.plan = Plan::full(sites_);
  if (sampler_->counts_draws()) {
    for (const auto& site : sites_) {
      const std::int64_t groups = site.row_site ? config_.row_groups : 1;
      state_.waiting.emplace_back(site.in_turn ? 0 : groups * site.channels, 0);
    }
  }
}

std::int64_t Planner::group_of(std::uint64_t step) const {
  const std::uint64_t draw = step / static_cast<std::uint64_t>(config_.resample_every);
  return static_cast<std::int64_t>(draw % static_cast<std::uint64_t>(config_.row_groups));
}

double Planner::noise(std::uint64_t step) const {
  const double done = static_cast<double>(step) / static_cast<double>(config_.anneal_steps);
  return sampler_->explores() ? std::max(0.0, 1 - done) : 0;
}

bool Planner::is_due(std::uint64_t step, double ratio) const {
  return ratio != state_.ratio || step % static_cast<std::uint64_t>(config_.resample_every) == 0;
}

const Plan& Planner::plan(std::uint64_t step, double ratio, std::span<const std::vector<float>> norms) {
  if (!is_due(step, ratio)) {
    return state_.plan;
  }
  require(!reads_norms(step, ratio) || sites_.size() == norms.size(), "a plan needs the norms of every site");
  state_.ratio = ratio;
  const SampleSize size = size_at(ratio);
  for (std::size_t site = 0; site < sites_.size(); ++site) {
    state_.plan.sets[site] = draw(site, norms.empty() ? std::span<const float>() : norms[site], size, step);
  }
  return state_.plan;
}

const Plan& Planner::plan(std::uint64_t step, double ratio, const Plan& largest) {
  require(takes(step, ratio, largest), "a choice of channels that a step is not to have");
  state_.ratio = ratio;
  state_.plan = largest;
  return state_.plan;
}

bool Planner::takes(std::uint64_t step, double ratio, const Plan& largest) const {
  const SampleSize size = size_at(ratio);
  const auto fits = [&](const Site& site, const ChannelSet& set) {
    return !site.in_turn && set.channels == site.channels && set.size() == size.kept(site.channels);
  };
  return reads_norms(step, ratio) && sampler_->keeps_largest() && size.channel_block == 1 &&
         std::ranges::equal(sites_, largest.sets, fits);
}

SampleSize Planner::size_at(double ratio) const {
  SampleSize size = config_.size;
  size.ratio = ratio;
  return size;
}

ChannelSet Planner::draw(std::size_t site, std::span<const float> norms, const SampleSize& size,
                         std::uint64_t step) {
  const std::int64_t group = group_of(step);
  const std::int64_t channels = sites_[site].channels;
  if (sites_[site].in_turn) {
    return neighbours(channels, config_.row_groups, group);
  }
  const auto waiting = this->waiting(site, sites_[site].row_site ? group : 0);
  RandomStream random(seed_, RandomPurpose::plan, step, site);
  // Nothing is sampled at ratio 1, whatever a sampler that draws with replacement would make of it.
  const Candidates candidates{.norms = norms, .waiting = waiting, .noise = noise(step)};
  ChannelSet set =
      size.ratio == 1.0 ? ChannelSet::all(channels) : draw_set(*sampler_, candidates, size, random);
  set.check();
  if (!waiting.empty()) {
    count_draw(set, waiting);
  }
  return set;
}

std::span<std::uint32_t> Planner::waiting(std::size_t site, std::int64_t group) {
  if (state_.waiting.empty()) {
    return {};
  }
  const std::int64_t channels = sites_[site].channels;
  return std::span(state_.waiting[site]).subspan(group * channels, channels);
}

void Planner::adopt(PlannerState state) {
  require(state.plan.sets.size() == sites_.size(), "a plan of another network");
  require(state.waiting.size() == state_.waiting.size(), "a plan of another sampler");
  for (std::size_t site = 0; site < state.waiting.size(); ++site) {
    require(state.waiting[site].size() == state_.waiting[site].size(), "a plan of other sites");
  }
  for (std::size_t site = 0; site < sites_.size(); ++site) {
    require(state.plan.sets[site].channels == sites_[site].channels, "a plan of wider or narrower sites");
  }
  state_ = std::move(state);
}

}  // namespace slicereduce
