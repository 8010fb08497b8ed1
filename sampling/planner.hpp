#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sampling/plan.hpp"
#include "sampling/sampler.hpp"

namespace slicereduce {

/// How, and how often, channels are chosen.
struct SamplingConfig {
  std::string sampler = "topk";
  SampleSize size;
  std::int64_t resample_every = 1;   ///< steps that share a plan
  std::int64_t anneal_steps = 1000;  ///< in which the noise of a sampler that explores falls to zero
  std::int64_t row_groups = 1;       ///< that rows are cut into, at sites that go in turn

  /// Throws Error(usage) naming the option, its value and its range.
  void validate() const;
};

/// All that a planner remembers from step to step.
struct PlannerState {
  Plan plan;         ///< handed out last: what the sampled network is now
  double ratio = 0;  ///< of that plan; 0 before the first
  /// By site, for a sampler that counts draws: since each channel was kept, [row groups, channels].
  std::vector<std::vector<std::uint32_t>> waiting;

  bool operator==(const PlannerState&) const = default;
};

/// Hands out the plan of each step: drawn anew every `resample_every` steps, or when the ratio changes.
class Planner {
 public:
  Planner(std::vector<Site> sites, const SamplingConfig& config, std::uint64_t seed);

  /// The plan of `step` at `ratio`; `norms` of the weights as they are. Steps come in order.
  const Plan& plan(std::uint64_t step, double ratio, std::span<const std::vector<float>> norms);
  /// The same where a device has found the channels of the largest norms, which its sampler keeps. Throws
  /// Error(invariant) where this is not what `step` is to have.
  const Plan& plan(std::uint64_t step, double ratio, const Plan& largest);
  /// Whether that draws one.
  [[nodiscard]] bool is_due(std::uint64_t step, double ratio) const;
  /// Whether that reads the norms; else there need not be any.
  [[nodiscard]] bool reads_norms(std::uint64_t step, double ratio) const {
    return ratio != 1.0 && is_due(step, ratio);
  }
  /// Whether `largest` is what it would draw.
  [[nodiscard]] bool takes(std::uint64_t step, double ratio, const Plan& largest) const;
  [[nodiscard]] const Plan& current() const { return state_.plan; }
  [[nodiscard]] double ratio() const { return state_.ratio; }

  [[nodiscard]] const PlannerState& state() const { return state_; }
  /// Goes on with a state from elsewhere: a checkpoint's, or another rank's. Throws Error(invariant) for one
  /// of other sites.
  void adopt(PlannerState state);

  [[nodiscard]] std::span<const Site> sites() const { return sites_; }
  [[nodiscard]] const Sampler& sampler() const { return *sampler_; }

 private:
  [[nodiscard]] SampleSize size_at(double ratio) const;
  [[nodiscard]] ChannelSet draw(std::size_t site, std::span<const float> norms, const SampleSize& size,
                                std::uint64_t step);
  [[nodiscard]] std::span<std::uint32_t> waiting(std::size_t site, std::int64_t group);
  [[nodiscard]] std::int64_t group_of(std::uint64_t step) const;
  [[nodiscard]] double noise(std::uint64_t step) const;

  std::vector<Site> sites_;
  SamplingConfig config_;
  std::uint64_t seed_;
  std::unique_ptr<Sampler> sampler_;
  PlannerState state_;
};

/// Group `group` of `groups` of neighbouring channels, as equal as they can be, the last the largest; of as
/// many groups as there are channels where those are fewer, over and over.
[[nodiscard]] ChannelSet neighbours(std::int64_t channels, std::int64_t groups, std::int64_t group);

}  // namespace slicereduce
