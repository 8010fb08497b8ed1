#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sampling/placed_plan.hpp"
#include "sampling/plan.hpp"

namespace slicereduce {

/// A learnable tensor's shape, seen as rows x taps x columns in memory (see memory_order.hpp): a convolution
/// [O, I, kh, kw] is O x (kh kw) x I, a linear weight [O, I] is O x 1 x I, a vector [C] is 1 x 1 x C. Rows
/// and columns are what sampling keeps or leaves out.
struct ParameterShape {
  std::string name;
  std::vector<std::int64_t> sizes;         ///< as PyTorch prints it
  std::optional<std::size_t> row_site;     ///< index of the site whose set keeps rows; all if none
  std::optional<std::size_t> column_site;  ///< likewise for columns
  bool vector = false;                     ///< a bias or a batch norm's: weight decay may leave it out

  [[nodiscard]] std::int64_t rows() const { return sizes.size() == 1 ? 1 : sizes[0]; }
  [[nodiscard]] std::int64_t columns() const { return sizes.size() == 1 ? sizes[0] : sizes[1]; }
  [[nodiscard]] std::int64_t taps() const { return sizes.size() == 4 ? sizes[2] * sizes[3] : 1; }
  [[nodiscard]] std::int64_t numel() const { return rows() * taps() * columns(); }

  /// The sizes of what `plan` leaves of it.
  [[nodiscard]] std::vector<std::int64_t> compact_sizes(const Plan& plan) const;
  [[nodiscard]] std::int64_t compact_numel(const Plan& plan) const;
  /// Nothing of it is left out by `plan`.
  [[nodiscard]] bool whole(const Plan& plan) const;
};

/// A dense weight that all ranks share: fp32, in memory order.
struct SlicedParameter {
  ParameterShape shape;
  at::Tensor value;
};

/// Where a plan's rows and columns lie in one parameter.
struct Placement {
  std::vector<std::int64_t> compact_row;  ///< of each dense row: its compact row, or -1
  std::vector<std::int32_t> places;       ///< what is kept of each row's taps x columns, ascending

  friend bool operator==(const Placement&, const Placement&) = default;
};
[[nodiscard]] Placement place(const ParameterShape& shape, const Plan& plan);

/// Copies the rows and columns that the plan keeps into `leaf` (compact sizes, float or bfloat16, in memory
/// order), rounding to its type. All on one device.
void gather_slices(const SlicedParameter& parameter, const PlacedPlan& placed, const at::Tensor& leaf);
/// The same for all of them; a leaf that shares its parameter's memory stays as it is.
void gather_slices(std::span<const SlicedParameter> parameters, const PlacedPlan& placed,
                   std::span<const at::Tensor> leaves);

/// Sets what `plan` leaves out of the columns of `dense`, a matrix or convolution of that shape, to zero. A
/// vector stays as it is.
void clear_left_out_columns(const ParameterShape& shape, const Plan& plan, const at::Tensor& dense);

/// The inverse for gradients: a dense fp32 tensor in memory order that holds `compact` (in any floating type,
/// 1-D or shaped, in memory order) in the kept places and zero elsewhere, on the same device.
[[nodiscard]] at::Tensor scatter_slices(const ParameterShape& shape, const PlacedPlan& placed,
                                        const at::Tensor& compact);

}  // namespace slicereduce
