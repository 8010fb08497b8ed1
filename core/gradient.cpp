#include "core/gradient.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "core/add_row.hpp"
#include "core/error.hpp"
#include "core/processors.hpp"

namespace slicereduce {

namespace {

SLICEREDUCE_FOR_EACH_X86 void set_multiple(float* __restrict out, const float* __restrict vector,
                                           float factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = factor * vector[i];
  }
}

SLICEREDUCE_FOR_EACH_X86 void add_multiple(float* __restrict out, const float* __restrict vector,
                                           float factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] += factor * vector[i];
  }
}

/// The factors of a gradient in host memory.
struct Factors {
  explicit Factors(const Gradient& gradient)
      : rank(gradient.left.size(0)),
        rows(gradient.left.size(1)),
        columns(gradient.right.size(1)),
        left(gradient.left.const_data_ptr<float>()),
        right(gradient.right.const_data_ptr<float>()) {}

  template <typename Work>
  void for_each_row(const Work& work) const {
    const std::int64_t grain = std::max<std::int64_t>(1, at::internal::GRAIN_SIZE / (rank * columns));
    at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        work(row);
      }
    });
  }

  void set_row(std::int64_t row, float* out) const {
    set_multiple(out, right, left[row], columns);
    for (std::int64_t k = 1; k < rank; ++k) {
      add_multiple(out, right + k * columns, left[k * rows + row], columns);
    }
  }

  void subtract_row(std::int64_t row, float* out) const {
    for (std::int64_t k = 0; k < rank; ++k) {
      add_multiple(out, right + k * columns, -left[k * rows + row], columns);
    }
  }

  std::int64_t rank;
  std::int64_t rows;
  std::int64_t columns;
  const float* left;
  const float* right;
};

void require_size(const at::Tensor& matrix, const Gradient& gradient) {
  require(matrix.is_contiguous() && matrix.numel() == gradient.numel(),
          "factors are subtracted from a matrix of another size");
}

template <typename Number>
void subtract_and_add(float* out, const Factors& factors, const Number* added) {
  factors.for_each_row([&](std::int64_t row) {
    factors.subtract_row(row, out + row * factors.columns);
    add_row(out + row * factors.columns, added + row * factors.columns, factors.columns);
  });
}

}  // namespace

std::int64_t Gradient::numel() const { return has_factors() ? left.size(1) * right.size(1) : values.numel(); }

at::Tensor Gradient::dense() const {
  if (!has_factors()) {
    return values;
  }
  const Factors factors(*this);
  const at::Tensor all = at::empty({factors.rows * factors.columns}, left.options());
  auto* out = all.mutable_data_ptr<float>();
  factors.for_each_row([&](std::int64_t row) { factors.set_row(row, out + row * factors.columns); });
  return all;
}

void factored_row(const Gradient& gradient, std::int64_t row, float* out) {
  Factors(gradient).set_row(row, out);
}

void subtract_factored(const at::Tensor& matrix, const Gradient& gradient) {
  require_size(matrix, gradient);
  if (!matrix.is_cpu()) {
    // Where the matrix is: what a rank owes is its own, and need not be the same bits on all of them.
    const at::Tensor left = gradient.left.to(matrix.device());
    matrix.view({left.size(1), -1}).addmm_(left.t(), gradient.right.to(matrix.device()), 1, -1);
    return;
  }
  const Factors factors(gradient);
  auto* out = matrix.mutable_data_ptr<float>();
  factors.for_each_row([&](std::int64_t row) { factors.subtract_row(row, out + row * factors.columns); });
}

void subtract_factored_and_add(const at::Tensor& matrix, const Gradient& gradient, const at::Tensor& added) {
  if (!gradient.has_factors()) {
    matrix.add_(added.view(matrix.sizes()));
    return;
  }
  require_size(matrix, gradient);
  require(added.is_contiguous() && added.numel() == matrix.numel(), "a gradient of another size is added");
  const Factors factors(gradient);
  auto* out = matrix.mutable_data_ptr<float>();
  if (added.scalar_type() == at::kBFloat16) {
    subtract_and_add(out, factors, added.const_data_ptr<at::BFloat16>());
  } else {
    subtract_and_add(out, factors, added.const_data_ptr<float>());
  }
}

}  // namespace slicereduce
