#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "core/gradient.hpp"
#include "sampling/column_norms.hpp"
#include "sampling/placed_plan.hpp"
#include "sampling/sliced_parameter.hpp"

namespace slicereduce {

struct SgdConfig {
  double momentum = 0.9;
  double weight_decay = 1e-4;
  bool nesterov = false;
  bool decay_vectors = true;  ///< whether biases and batch norm's weights decay too, as in PyTorch

  /// Throws Error(usage) naming the option, its value and its range.
  void validate() const;
};

/// SGD with momentum over dense weights whose gradient exists only in the slices of a plan; it is zero
/// elsewhere, where weights and momentum decay as ever. With torch.optim.SGD's formula (dampening 0):
///
///     d = g + weight_decay * w;  m = momentum * m + d;  w -= lr * (nesterov ? d + momentum * m : m)
///
/// On the CPU one pass reads and writes every weight and momentum once, and yields the column norms that the
/// next plan is drawn from. A step may go parameter by parameter, as gradients arrive.
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
  /// After all parameters were updated: renews the norms.
  void end_step();

  /// Of the weights at the last step's end: see site_norms().
  [[nodiscard]] const std::vector<std::vector<float>>& norms() const { return norms_; }
  /// The same for `sites` of parameters that are cut in another way.
  [[nodiscard]] std::vector<std::vector<float>> norms(std::span<const Site> sites,
                                                      std::span<const SlicedParameter> cut) const;
  /// After weights were set from outside.
  void refresh_norms();

  /// One a parameter, fp32, of its shape, in memory order.
  [[nodiscard]] std::span<const at::Tensor> momentum() const { return momentum_; }

 private:
  struct Block;
  [[nodiscard]] bool on_cpu() const;
  void update_on_cpu(std::size_t first, std::span<const SlicedParameter> cut, const Plan& plan,
                     std::span<const Gradient> gradients, double lr);
  /// `gradient_row(r)` points to compact row r.
  template <typename GradientRow>
  void update_block(const Block& block, const GradientRow& gradient_row, double lr);
  void update_block(const Block& block, double lr);

  std::span<SlicedParameter> parameters_;
  std::span<const Site> sites_;
  SgdConfig config_;
  std::vector<at::Tensor> momentum_;
  std::vector<ColumnSquares> squares_;
  std::vector<std::vector<float>> norms_;
};

}  // namespace slicereduce
