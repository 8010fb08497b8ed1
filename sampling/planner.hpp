#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sampling/plan.hpp"
#include "sampling/sampler.hpp"

namespace slicereduce {

struct SamplingConfig {
  std::string sampler = "topk";
  SampleSize size;
  std::int64_t resample_every = 1;  ///< steps that share a plan

  /// Throws Error(usage) naming the option, its value and its range.
  void validate() const;
};

/// Hands out the plan of each step: drawn anew every `resample_every` steps, or when the ratio changes.
class Planner {
 public:
  Planner(std::vector<Site> sites, const SamplingConfig& config, std::uint64_t seed);

  /// The plan of `step` at `ratio`; `norms` of the weights as they are. Steps come in order.
  const Plan& plan(std::uint64_t step, double ratio, std::span<const std::vector<float>> norms);
  /// The plan handed out last: what the sampled network is now.
  [[nodiscard]] const Plan& current() const { return plan_; }
  /// Of that plan; 0 before the first.
  [[nodiscard]] double ratio() const { return ratio_; }
  /// Goes on with a plan from elsewhere: a checkpoint's, or another rank's.
  void adopt(Plan plan, double ratio);

  [[nodiscard]] std::span<const Site> sites() const { return sites_; }
  [[nodiscard]] const Sampler& sampler() const { return *sampler_; }

 private:
  std::vector<Site> sites_;
  SamplingConfig config_;
  std::uint64_t seed_;
  std::unique_ptr<Sampler> sampler_;
  Plan plan_;
  double ratio_ = 0;
};

}  // namespace slicereduce
