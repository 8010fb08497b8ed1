#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <vector>

#include "core/gradient.hpp"
#include "sampling/placed_plan.hpp"
#include "sampling/sliced_parameter.hpp"
#include "sampling/weight_passes.hpp"

/// Slices by PyTorch's own indexing: on any device, in several passes over memory. It serves the devices that
/// have no kernels of ours, and the CPU's kernels are tested against it. The functions do what those of the
/// same name one level up do.
namespace slicereduce::indexed {

void gather_slices(const SlicedParameter& parameter, const PlacedPlan& plan, const at::Tensor& leaf);

[[nodiscard]] at::Tensor scatter_slices(const ParameterShape& shape, const PlacedPlan& plan,
                                        const at::Tensor& compact);

/// Of all sites, one after the other: see split_by_site().
[[nodiscard]] at::Tensor site_norms(std::span<const Site> sites, std::span<const SlicedParameter> parameters);

/// x [N, C, H, W] or [N, C] gives [N, k, H, W] in channels_last, or [N, k].
[[nodiscard]] at::Tensor take(const at::Tensor& x, const PlacedSet& set);

/// Its gradient: `passed` (zero where undefined) plus `taken` times the scale, in the kept channels.
[[nodiscard]] at::Tensor give_back(const at::Tensor& taken, const at::Tensor& passed, const PlacedSet& set);

/// ErrorFeedback::take and give_back for a parameter that `plan` cuts, with memory.
[[nodiscard]] at::Tensor take_owed(const at::Tensor& owed, const ParameterShape& shape,
                                   const PlacedPlan& plan, const at::Tensor& gradient);
void owe(const at::Tensor& owed, const ParameterShape& shape, const PlacedPlan& plan,
         const at::Tensor& unsent);

/// WeightPasses::update of these parameters. Gradients may come from another device.
void update(std::span<const SlicedParameter> parameters, std::span<const at::Tensor> momentum,
            const PlacedPlan& plan, std::span<const Gradient> gradients, const SgdRule& rule);

/// `momentum`, a tensor a parameter, is shared.
[[nodiscard]] std::unique_ptr<WeightPasses> make_weight_passes(std::span<const at::Tensor> momentum);

}  // namespace slicereduce::indexed
