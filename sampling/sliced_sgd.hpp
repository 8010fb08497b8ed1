#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <vector>

#include "core/gradient.hpp"
#include "sampling/placed_plan.hpp"
#include "sampling/sliced_parameter.hpp"
#include "sampling/weight_passes.hpp"

namespace slicereduce {

/// SGD with momentum over dense weights whose gradient exists only in the slices of a plan; it is zero
/// elsewhere, where weights and momentum decay as ever. With torch.optim.SGD's formula (dampening 0):
///
///     d = g + weight_decay * w;  m = momentum * m + d;  w -= lr * (nesterov ? d + momentum * m : m)
///
/// One pass reads and writes every weight and momentum once, and yields the column norms that the next plan
/// is drawn from. A step may go parameter by parameter, as gradients arrive.
class SlicedSgd {
 public:
  /// Momentum starts at zero. `parameters` must outlive it and keep their tensors.
  SlicedSgd(std::span<SlicedParameter> parameters, std::span<const Site> sites, SgdConfig config);

  /// A step: update() of all parameters, and end_step(). `gradients[p]`: what `plan` leaves of parameter p,
  /// averaged over ranks, in memory order; in host memory, or on the weights' device. Factors are multiplied
  /// out row by row. Updates in place.
  void apply(const PlacedPlan& plan, std::span<const Gradient> gradients, double lr);

  /// A part of a step: of as many parameters as there are gradients, from `first` on. `cut` are those
  /// parameters, or the same tensors cut in another way, with the rows and columns that `plan` speaks of. In
  /// any order; a step takes each parameter once.
  void update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
              std::span<const Gradient> gradients, double lr);
  /// The same at a rate that is read when the update runs. The host reads it at once where the weights'
  /// device has no kernels.
  void update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
              std::span<const Gradient> gradients, const LiveRate& rate);
  /// After all parameters were updated: renews the norms.
  void end_step();

  /// Of the weights at the last step's end: see site_norms(). Waits for their device, once a step.
  [[nodiscard]] const std::vector<std::vector<float>>& norms() const;
  /// The same where the weights are: see split_by_site(). One tensor for good.
  [[nodiscard]] const at::Tensor& norms_in_place() const { return norms_in_place_; }
  /// After a step that was captured ran again: without the host's knowledge, weights and norms are others.
  void ran_again() { norms_.clear(); }
  /// The same for `sites` of parameters that are cut in another way.
  [[nodiscard]] std::vector<std::vector<float>> norms(std::span<const Site> sites,
                                                      std::span<const SlicedParameter> cut) const;
  /// After weights were set from outside.
  void refresh_norms();

  /// One a parameter, fp32, of its shape, in memory order.
  [[nodiscard]] std::span<const at::Tensor> momentum() const { return momentum_; }

 private:
  void require_fitting(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
                       std::span<const Gradient> gradients) const;

  std::span<SlicedParameter> parameters_;
  std::span<const Site> sites_;
  SgdConfig config_;
  std::vector<at::Tensor> momentum_;
  std::unique_ptr<WeightPasses> passes_;
  at::Tensor norms_in_place_;
  mutable std::vector<std::vector<float>> norms_;  ///< none until they are asked for
};

}  // namespace slicereduce
