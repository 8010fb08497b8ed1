#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "sampling/placed_plan.hpp"
#include "sampling/sliced_parameter.hpp"
#include "sampling/weight_passes.hpp"

/// Slices by kernels of ours: all parameters in one launch, each number read and written once. The functions
/// do what those of the same name one level up do. On host memory the same programs run thread after thread,
/// slowly: so that tests without a card see them.
namespace slicereduce::kernels {

/// Whether this build has kernels for tensors of `device`.
[[nodiscard]] bool serve(at::Device device);

/// By parameter; leaves that share their parameter's memory stay as they are.
void gather_slices(std::span<const SlicedParameter> parameters, const PlacedPlan& plan,
                   std::span<const at::Tensor> leaves);

/// Float or bfloat16. x [N, C, H, W] or [N, C] gives [N, k, H, W] in channels_last, or [N, k].
[[nodiscard]] at::Tensor take(const at::Tensor& x, const PlacedSet& set);
/// Its gradient: `passed` (zero where undefined) plus `taken` times the scale, in the kept channels; where
/// `gate` is given, zero where that is not above 0.
[[nodiscard]] at::Tensor give_back(const at::Tensor& taken, const at::Tensor& passed, const PlacedSet& set,
                                   const at::Tensor& gate = {});

/// {relu(branch + skip), what take() takes of it}, nothing taken where there is no set.
[[nodiscard]] std::pair<at::Tensor, at::Tensor> sum_relu_and_take(const at::Tensor& branch,
                                                                  const at::Tensor& skip,
                                                                  const PlacedSet* set);

/// Writes to `indices`, [kept channels of all sites] int64, which channels of each site have its `kept`
/// largest norms: what the sampler topk keeps. `norms`: [channels of all sites] float. Both one site after
/// the other, on one device; the host does not wait for it.
void keep_largest(const at::Tensor& norms, std::span<const std::int64_t> channels,
                  std::span<const std::int64_t> kept, const at::Tensor& indices);

/// Of all `parameters`, which outlive it. The pass that updates weights yields their squares.
[[nodiscard]] std::unique_ptr<WeightPasses> make_weight_passes(std::span<const SlicedParameter> parameters,
                                                               std::span<const at::Tensor> momentum);

}  // namespace slicereduce::kernels
