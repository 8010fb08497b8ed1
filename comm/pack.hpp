#pragma once

#include <ATen/core/Tensor.h>

#include "comm/wire.hpp"

namespace slicereduce {

/// Of a tensor that holds numbers as they travel.
[[nodiscard]] at::ScalarType scalar_type(WireType type);

/// [numel]: a view of `gradient` in the order of its memory, whichever that is. check_gradient() comes first.
[[nodiscard]] at::Tensor as_it_lies(const at::Tensor& gradient);

/// Writes `gradient` * `scale` to `slot`, rounded once to its type. `gradient`: float or bfloat16, in any
/// shape, without gaps or overlaps, taken in the order of its memory. `slot`: 1-D, as many numbers of `type`,
/// contiguous. Either in host memory or a device's: it is rounded where the gradient is, and only what goes
/// on the wire crosses.
void pack(const at::Tensor& gradient, float scale, const at::Tensor& slot, WireType type);

/// Throws Error(invariant) naming `slot` unless `gradient` is something that pack() takes, of `numel`
/// numbers.
void check_gradient(std::size_t slot, const at::Tensor& gradient, std::int64_t numel);

/// Leaves in `gradient` (float) what pack() with the same arguments takes from it by rounding to `type`; zero
/// for fp32.
void subtract_packed(const at::Tensor& gradient, float scale, WireType type);

/// The way of other devices, by PyTorch's operations: on the CPU it gives the bits of pack(), but for which
/// NaN.
void pack_from_device(const at::Tensor& gradient, float scale, const at::Tensor& slot);

}  // namespace slicereduce
