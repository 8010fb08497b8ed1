#pragma once

#include <ATen/core/Tensor.h>

namespace slicereduce {

/// Whether all numbers are neither infinite nor NaN. A pass over floating-point numbers, at the speed of
/// memory.
[[nodiscard]] bool is_finite(const at::Tensor& numbers);

}  // namespace slicereduce
