#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace slicereduce {

// Weights, their gradients and whatever belongs to them lie in memory as rows x taps x columns: a convolution
// [O, I, kh, kw] as O x (kh kw) x I, which PyTorch calls channels_last; all else contiguous. It is the order
// in which PyTorch's convolutions of channels_last images read weights and return gradients: contiguous ones
// they copy. (What oneDNN reorders for itself, it reorders in either case.)

/// Of a tensor of these sizes.
[[nodiscard]] at::MemoryFormat memory_format_of(at::IntArrayRef sizes);

/// [numel]: a view of `tensor` as it lies in memory. Throws Error(invariant) where it lies in another order.
[[nodiscard]] at::Tensor in_memory_order(const at::Tensor& tensor);

/// Activations [N, C, H, W] or [N, C], whose channels lie side by side in memory: `x` itself where they do.
[[nodiscard]] at::Tensor with_channels_side_by_side(const at::Tensor& x);

/// Not filled: like `x` in such an order, with as many channels.
[[nodiscard]] at::Tensor empty_with_channels(const at::Tensor& like, std::int64_t channels);

/// The inverse of in_memory_order(): a view of `numbers`, contiguous, with these sizes.
[[nodiscard]] at::Tensor with_sizes(const at::Tensor& numbers, at::IntArrayRef sizes);

/// compact[j] = row[places[j]], rounded to its type.
template <typename From, typename To>
void gather_row(const From* row, std::span<const std::int32_t> places, To* compact) {
  for (std::size_t j = 0; j < places.size(); ++j) {
    compact[j] = static_cast<To>(row[places[j]]);
  }
}

/// row[places[j]] = compact[j]
template <typename From, typename To>
void scatter_row(const From* compact, std::span<const std::int32_t> places, To* row) {
  for (std::size_t j = 0; j < places.size(); ++j) {
    row[places[j]] = static_cast<To>(compact[j]);
  }
}

}  // namespace slicereduce
