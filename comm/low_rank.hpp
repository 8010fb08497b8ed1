#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/random.hpp"

namespace slicereduce {

/// PowerSGD (Vogels, Karimireddy and Jaggi, NeurIPS 2019, arXiv 1905.13727): a gradient matrix M [n, m]
/// travels as two thin factors, P [n, r] and Q [m, r], and M is taken to be P Q^T. Factors are kept
/// transposed here, [r, n] and [r, m], so that each of their r vectors is contiguous.
struct LowRankConfig {
  std::int64_t rank = 1;
  /// A matrix is sent whole unless its factors are smaller by more than this factor.
  double least_compression = 1;
  std::uint64_t seed = 0;  ///< of the first Q, the same on all ranks

  /// Throws Error(usage).
  void validate() const;
  /// The rank of a matrix's factors: at most its own; 0 where it is sent whole.
  [[nodiscard]] std::int64_t rank_of(std::int64_t rows, std::int64_t columns) const;
  /// Numbers that travel for it.
  [[nodiscard]] std::int64_t numel_of(std::int64_t rows, std::int64_t columns) const;
};

/// Makes the rows of `vectors` [r, n] (float, on the CPU, contiguous) orthonormal, one after the other, by
/// Gram-Schmidt's method done twice. A row that depends on those before it, to rounding, becomes zero. The
/// same bits on every processor and for any number of threads.
void orthonormalize(const at::Tensor& vectors);

/// The same, but a row that depends on those before it is drawn anew until it does not: the result spans
/// min(r, n) dimensions.
void orthonormalize_or_draw(const at::Tensor& vectors, RandomStream& random);

/// M Q, as [r, n]: `matrix` [n, m] and `right` [r, m], float, on one device.
[[nodiscard]] at::Tensor left_factor(const at::Tensor& matrix, const at::Tensor& right);
/// M^T P, as [r, m]: `matrix` [n, m] and `left` [r, n].
[[nodiscard]] at::Tensor right_factor(const at::Tensor& matrix, const at::Tensor& left);

}  // namespace slicereduce
