#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

namespace slicereduce {

/// The gradient of a parameter, or a slice of it: its numbers, or two thin factors whose product it is.
struct Gradient {
  Gradient() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): numbers are the usual case
  Gradient(at::Tensor numbers) : values(std::move(numbers)) {}
  Gradient(at::Tensor of_rows, at::Tensor of_columns)
      : left(std::move(of_rows)), right(std::move(of_columns)) {}

  at::Tensor values;  ///< float, bfloat16 or half; undefined where there are factors
  at::Tensor left;    ///< [r, rows], float, contiguous, in host memory
  at::Tensor right;   ///< [r, columns], likewise: the gradient is left^T right

  [[nodiscard]] bool has_factors() const { return left.defined(); }
  [[nodiscard]] std::int64_t numel() const;
  /// [numel], in host memory where factors are: the same bits as row by row, on every processor.
  [[nodiscard]] at::Tensor dense() const;
};

/// Row `row` of a gradient that has factors in host memory, in `out` [columns]: so it need not be written out
/// where each row is used once.
void factored_row(const Gradient& gradient, std::int64_t row, float* out);

/// matrix -= left^T right, for a contiguous float `matrix` of so many rows and columns.
void subtract_factored(const at::Tensor& matrix, const Gradient& gradient);

/// matrix = (matrix - left^T right) + added in one pass over host memory: the bits of the one after the
/// other. `added` is float or bfloat16, contiguous, of the same size; `gradient` has factors, or is nothing.
void subtract_factored_and_add(const at::Tensor& matrix, const Gradient& gradient, const at::Tensor& added);

}  // namespace slicereduce
