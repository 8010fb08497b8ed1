#include "comm/low_rank.hpp"

#include <ATen/ops/mm.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

/// What is left of a vector after projections, in units of its length, that is no more than their rounding.
constexpr double kDependent = 1e-5;

/// Eight sums, so that the processor need not wait for one addition before the next.
double dot(std::span<const float> a, std::span<const float> b) {
  std::array<double, 8> sums{};
  std::size_t i = 0;
  for (; i + sums.size() <= a.size(); i += sums.size()) {
    for (std::size_t lane = 0; lane < sums.size(); ++lane) {
      sums[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  double total = 0;
  for (; i < a.size(); ++i) {
    total += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  for (const double sum : sums) {
    total += sum;
  }
  return total;
}

/// The rows of a contiguous [r, n] tensor.
class Rows {
 public:
  explicit Rows(const at::Tensor& vectors)
      : first_(vectors.mutable_data_ptr<float>()), length_(static_cast<std::size_t>(vectors.size(1))) {
    require(vectors.is_contiguous() && vectors.is_cpu(), "vectors to orthonormalize lie elsewhere");
  }
  [[nodiscard]] std::span<float> operator[](std::int64_t row) const {
    return {first_ + static_cast<std::size_t>(row) * length_, length_};
  }

 private:
  float* first_;
  std::size_t length_;
};

/// Takes out of `row` what lies in the rows before it, and gives it length 1. False, and all zero, where
/// nothing is left.
bool make_orthonormal(const Rows& rows, std::int64_t row) {
  const std::span<float> vector = rows[row];
  const double before = std::sqrt(dot(vector, vector));
  for (int pass = 0; pass < 2; ++pass) {
    for (std::int64_t other = 0; other < row; ++other) {
      const auto along = static_cast<float>(dot(vector, rows[other]));
      for (std::size_t i = 0; i < vector.size(); ++i) {
        vector[i] -= along * rows[other][i];
      }
    }
  }
  const double after = std::sqrt(dot(vector, vector));
  // Not finite: let it show in the result rather than vanish.
  const bool is_left = !(after <= kDependent * before);
  const auto scale = is_left ? static_cast<float>(1 / after) : 0.0F;
  for (float& value : vector) {
    value = is_left ? value * scale : 0.0F;
  }
  return is_left;
}

}  // namespace

void LowRankConfig::validate() const {
  if (rank < 1) {
    throw Error(ErrorKind::usage,
                concat("powersgd_rank = ", rank, ": expected at least 1 (--powersgd-rank)"));
  }
}

std::int64_t LowRankConfig::rank_of(std::int64_t rows, std::int64_t columns) const {
  const std::int64_t r = std::min({rank, rows, columns});
  const auto factors = static_cast<double>(r * (rows + columns));
  return static_cast<double>(rows * columns) > least_compression * factors ? r : 0;
}

std::int64_t LowRankConfig::numel_of(std::int64_t rows, std::int64_t columns) const {
  const std::int64_t r = rank_of(rows, columns);
  return r == 0 ? rows * columns : r * (rows + columns);
}

void orthonormalize(const at::Tensor& vectors) {
  const Rows rows(vectors);
  for (std::int64_t row = 0; row < vectors.size(0); ++row) {
    make_orthonormal(rows, row);
  }
}

void orthonormalize_or_draw(const at::Tensor& vectors, RandomStream& random) {
  const Rows rows(vectors);
  const std::int64_t most = std::min(vectors.size(0), vectors.size(1));
  for (std::int64_t row = 0; row < vectors.size(0); ++row) {
    while (!make_orthonormal(rows, row) && row < most) {
      for (float& value : rows[row]) {
        value = static_cast<float>(random.uniform() - 0.5);
      }
    }
  }
}

at::Tensor left_factor(const at::Tensor& matrix, const at::Tensor& right) {
  return at::mm(right, matrix.t());
}

at::Tensor right_factor(const at::Tensor& matrix, const at::Tensor& left) { return at::mm(left, matrix); }

}  // namespace slicereduce
