#include "sampling/planner.hpp"

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

void SamplingConfig::validate() const {
  size.validate();
  (void)make_sampler(sampler);
  if (resample_every < 1) {
    throw Error(ErrorKind::usage,
                concat("resample_every = ", resample_every, ": expected at least 1 (--resample-every)"));
  }
}

Planner::Planner(std::vector<Site> sites, const SamplingConfig& config, std::uint64_t seed)
    : sites_(std::move(sites)),
      config_(config),
      seed_(seed),
      sampler_(make_sampler(config.sampler)),
      plan_(Plan::full(sites_)) {}

const Plan& Planner::plan(std::uint64_t step, double ratio, std::span<const std::vector<float>> norms) {
  if (ratio == ratio_ && step % static_cast<std::uint64_t>(config_.resample_every) != 0) {
    return plan_;
  }
  ratio_ = ratio;
  if (ratio == 1.0) {
    plan_ = Plan::full(sites_);
  } else {
    SampleSize size = config_.size;
    size.ratio = ratio;
    plan_ = draw_plan(sites_, norms, *sampler_, size, seed_, step);
  }
  return plan_;
}

void Planner::adopt(Plan plan, double ratio) {
  require(plan.sets.size() == sites_.size(), "a plan of another network");
  plan_ = std::move(plan);
  ratio_ = ratio;
}

}  // namespace slicereduce
