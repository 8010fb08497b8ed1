#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "sampling/placed_plan.hpp"
#include "sampling/plan.hpp"

namespace slicereduce {

/// A plan whose sets may change, but never their sizes nor where their indices lie: what a captured step
/// reads, plan after plan. Nothing here makes the host wait.
class StandingPlan {
 public:
  /// `first` itself, until another one is set. Its sets scale nothing.
  StandingPlan(Plan first, at::Device device);

  /// The indices are always those chosen last. The host's own, placed().plan(), are those that were set or
  /// read last: of a choice that a device has made since, only the sizes are known.
  [[nodiscard]] const PlacedPlan& placed() const { return placed_; }
  /// Whether its sets are as large, and scale nothing.
  [[nodiscard]] bool fits(const Plan& plan) const;

  /// Throws Error(invariant) for a plan that does not fit.
  void set(const Plan& plan);
  /// The channels with the largest norms, as the sampler topk has them. `norms`: of all sites, one after the
  /// other, on the device.
  void keep_largest(const at::Tensor& norms);
  /// Takes note of what was chosen: `indices` are placed().indices(), in host memory.
  void read(const at::Tensor& indices);

 private:
  std::vector<std::int64_t> channels_;  ///< by site
  std::vector<std::int64_t> sizes_;     ///< likewise, of those that are kept
  at::Tensor indices_;                  ///< [sum of sizes_] int64
  PlacedPlan placed_;
};

}  // namespace slicereduce
