#include "sampling/standing_plan.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "core/error.hpp"
#include "sampling/device_slices.hpp"

namespace slicereduce {

StandingPlan::StandingPlan(Plan first, at::Device device) {
  for (const ChannelSet& set : first.sets) {
    channels_.push_back(set.channels);
    sizes_.push_back(set.size());
  }
  const std::int64_t kept = std::accumulate(sizes_.begin(), sizes_.end(), std::int64_t{0});
  indices_ = at::empty({kept}, at::TensorOptions(device).dtype(at::kLong));
  set(first);
}

bool StandingPlan::fits(const Plan& plan) const {
  return std::ranges::equal(plan.sets, sizes_, {}, &ChannelSet::size) &&
         std::ranges::equal(plan.sets, channels_, {}, &ChannelSet::channels) &&
         std::ranges::all_of(plan.sets, &std::vector<float>::empty, &ChannelSet::scale);
}

void StandingPlan::set(const Plan& plan) {
  require(fits(plan), "a plan has other sizes than the one that stands");
  indices_.copy_(PlacedPlan(plan, indices_.device()).indices());
  placed_ = PlacedPlan(plan, indices_);
}

void StandingPlan::keep_largest(const at::Tensor& norms) {
  kernels::keep_largest(norms, channels_, sizes_, indices_);
  if (indices_.is_cpu()) {
    read(indices_);  // host loops read the host's own
  }
}

void StandingPlan::read(const at::Tensor& indices) {
  std::span<const std::int64_t> rest(indices.const_data_ptr<std::int64_t>(),
                                     static_cast<std::size_t>(indices.numel()));
  Plan plan = placed_.plan();
  for (ChannelSet& set : plan.sets) {
    const auto of_set = rest.first(set.kept.size());
    std::ranges::transform(of_set, set.kept.begin(),
                           [](std::int64_t index) { return static_cast<std::int32_t>(index); });
    rest = rest.subspan(of_set.size());
  }
  placed_ = PlacedPlan(std::move(plan), indices_);
}

}  // namespace slicereduce
