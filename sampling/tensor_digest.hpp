#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace slicereduce {

/// Of the numbers of float tensors, as they lie in memory, from any device.
[[nodiscard]] std::uint64_t digest_of_tensors(std::span<const at::Tensor> tensors);

}  // namespace slicereduce
