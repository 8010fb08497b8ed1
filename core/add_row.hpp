#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace slicereduce {

/// sums[i] += added[i], in fp32; the same bits on every processor.
void add_row(float* sums, const float* added, std::int64_t count);
void add_row(float* sums, const at::BFloat16* added, std::int64_t count);

}  // namespace slicereduce
