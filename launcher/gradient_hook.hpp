#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace slicereduce {

/// `take` is called with each gradient of `leaf`, once that is complete, in the order in which backward
/// reaches the leaves; the leaf has none afterwards, so that the only copy is the one that is sent. Only the
/// first call for a leaf counts.
void take_gradients_of(const at::Tensor& leaf, std::function<void(const at::Tensor& gradient)> take);

}  // namespace slicereduce
