#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sampling/sliced_parameter.hpp"

namespace slicereduce {

/// Sums of squares of a parameter's columns, gathered block of rows by block of rows. The blocks are
/// fixed by the shape alone, never by the number of threads: the same weights give the same bits on
/// every rank, and on the pass that starts a run and the one inside SGD.
class ColumnSquares {
 public:
  explicit ColumnSquares(const ParameterShape& shape);

  [[nodiscard]] std::int64_t blocks() const { return blocks_; }
  [[nodiscard]] std::int64_t first_row(std::int64_t block) const { return block * rows_per_block_; }
  [[nodiscard]] std::int64_t end_row(std::int64_t block) const;
  [[nodiscard]] std::int64_t row_numel() const { return columns_ * taps_; }
  /// `of_row[i]` is the sum of squares of the block's rows at place i of a row. Any thread, once a block.
  void finish(std::int64_t block, std::span<const float> of_row);
  /// Adds all blocks, in order, to `totals` (one a column).
  void add_to(std::span<double> totals) const;

 private:
  std::int64_t rows_;
  std::int64_t columns_;
  std::int64_t taps_;
  std::int64_t rows_per_block_;
  std::int64_t blocks_;
  std::vector<float> sums_;  // [blocks, columns]
};

/// The squares of one parameter as it is.
[[nodiscard]] ColumnSquares column_squares(const SlicedParameter& parameter);

/// The norm of each channel of each site, over all weights that read it: sqrt(sum of squares of the columns).
/// On any device. A slow reference for what SGD yields in passing, and the start of a run.
[[nodiscard]] std::vector<std::vector<float>> site_norms(std::span<const Site> sites,
                                                         std::span<const SlicedParameter> parameters);

/// The same from squares that are known. `squares[p]` belongs to `parameters[p]`.
[[nodiscard]] std::vector<std::vector<float>> site_norms(std::span<const Site> sites,
                                                         std::span<const SlicedParameter> parameters,
                                                         std::span<const ColumnSquares> squares);

/// Norms of all sites' channels, [channels of all sites] float, one site after the other, on any device: cut
/// at the sites. Waits for the device.
[[nodiscard]] std::vector<std::vector<float>> split_by_site(const at::Tensor& norms,
                                                            std::span<const Site> sites);
/// The inverse, in host memory.
[[nodiscard]] at::Tensor joined(std::span<const std::vector<float>> norms);

}  // namespace slicereduce
