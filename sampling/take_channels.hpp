#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <utility>

#include "sampling/placed_plan.hpp"

namespace slicereduce {

/// The activations of the channels that `set` keeps, times their scale: x [N, C, H, W] or [N, C], float or
/// bfloat16, gives [N, k, H, W] or [N, k], channels_last. x itself if the set is full. Differentiable. On one
/// device.
[[nodiscard]] at::Tensor take_channels(const at::Tensor& x, const std::shared_ptr<const PlacedSet>& set);

/// The same for a residual block, which also passes x on: {taken, x}. One backward pass adds the
/// gradient of what was taken to the gradient of what was passed on, where two branches would make a
/// zero tensor, scatter into it, and add it.
[[nodiscard]] std::pair<at::Tensor, at::Tensor> take_and_pass(const at::Tensor& x,
                                                              const std::shared_ptr<const PlacedSet>& set);

/// relu(branch + skip), as a residual block ends, and what take_channels() takes of it, for the next block;
/// where there is no set, or a full one, that is all of it. One pass each way, with the bits that sum, ReLU
/// and take_and_pass() would give. Differentiable; the sum itself is not kept.
[[nodiscard]] std::pair<at::Tensor, at::Tensor> sum_relu_and_take(
    const at::Tensor& branch, const at::Tensor& skip, const std::shared_ptr<const PlacedSet>& set);

}  // namespace slicereduce
