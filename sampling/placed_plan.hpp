#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "sampling/plan.hpp"

namespace slicereduce {

/// A site's set where a network computes.
struct PlacedSet {
  PlacedSet(ChannelSet channels, at::Device device);
  PlacedSet(ChannelSet channels, at::Tensor indices, at::Tensor factors);

  ChannelSet set;
  at::Tensor kept;   ///< [k] int64, on the device
  at::Tensor scale;  ///< [k] float, on the device; undefined where `set` scales nothing
};

/// A plan whose indices lie on the device of the weights that they select from.
class PlacedPlan {
 public:
  PlacedPlan() = default;
  /// All sets travel to `device` in one copy.
  PlacedPlan(Plan plan, at::Device device);
  /// The same with indices that are on their device, see indices(); their memory is shared. The sets scale
  /// nothing.
  PlacedPlan(Plan plan, at::Tensor indices);

  [[nodiscard]] const Plan& plan() const { return plan_; }
  [[nodiscard]] at::Device device() const { return device_; }
  /// Of all sets, one after the other, [channels kept] int64, on the device: the sets' own are parts of it.
  [[nodiscard]] const at::Tensor& indices() const { return indices_; }
  /// Shared: autograd keeps a set from forward to backward.
  [[nodiscard]] const std::shared_ptr<const PlacedSet>& set(std::size_t site) const { return sets_.at(site); }

 private:
  void cut(const at::Tensor& scale);

  Plan plan_;
  at::Device device_ = at::kCPU;
  at::Tensor indices_;
  std::vector<std::shared_ptr<const PlacedSet>> sets_;
};

}  // namespace slicereduce
