#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "core/gradient.hpp"
#include "sampling/placed_plan.hpp"
#include "sampling/plan.hpp"
#include "sampling/sgd_step.hpp"
#include "sampling/sliced_parameter.hpp"

namespace slicereduce {

/// Of torch.optim.SGD, by its names.
struct SgdConfig {
  double momentum = 0.9;
  double weight_decay = 1e-4;
  bool nesterov = false;
  bool decay_vectors = true;  ///< whether biases and batch norm's weights decay too, as in PyTorch

  /// Throws Error(usage) naming the option, its value and its range.
  void validate() const;
};

/// Read when an update runs, not when it is asked for: a step that is captured once can be given another
/// learning rate each time that it runs again. Both where the weights are.
struct LiveRate {
  at::Tensor lr;    ///< [1] float
  at::Tensor goes;  ///< [1] int32; 0 leaves weights and momentum as they are
};

/// What a step does to each weight.
struct SgdRule : SgdConfig {
  double lr = 0;
  const LiveRate* live = nullptr;  ///< in lr's place; for kernels::make_weight_passes() alone

  /// For a parameter of this shape.
  [[nodiscard]] SgdStep of(const ParameterShape& shape) const {
    const bool decays = decay_vectors || !shape.vector;
    return {static_cast<float>(lr), static_cast<float>(momentum),
            static_cast<float>(decays ? weight_decay : 0)};
  }
};

/// SGD's passes over weights and momentum, and the column norms of the weights, where these lie. What an
/// update is stands at SlicedSgd.
class WeightPasses {
 public:
  virtual ~WeightPasses() = default;

  /// Updates in place as many parameters as there are gradients, from `first` on, cut as `cut` says.
  virtual void update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
                      std::span<const Gradient> gradients, const SgdRule& rule) = 0;
  /// After weights were set from outside.
  virtual void refresh() = 0;
  /// Of the weights as they are, where these lie, for `sites` of parameters that are cut as `cut` says: see
  /// split_by_site().
  [[nodiscard]] virtual at::Tensor norms(std::span<const Site> sites,
                                         std::span<const SlicedParameter> cut) const = 0;
};

/// For host memory: one pass reads and writes every weight and momentum once, and yields the norms.
/// `parameters` must outlive it; `momentum`, of the same shapes, is shared.
[[nodiscard]] std::unique_ptr<WeightPasses> make_host_passes(std::span<const SlicedParameter> parameters,
                                                             std::span<const at::Tensor> momentum);

}  // namespace slicereduce
