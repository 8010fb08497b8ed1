#include "core/gradient.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>

#include <algorithm>

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

template <typename Work>
void for_rows(const Gradient& gradient, const Work& work) {
  const std::int64_t row_work = gradient.right.numel();
  const std::int64_t grain = std::max<std::int64_t>(1, at::internal::GRAIN_SIZE / row_work);
  at::parallel_for(0, gradient.left.size(1), grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      work(row);
    }
  });
}

}  // namespace

std::int64_t Gradient::numel() const { return has_factors() ? left.size(1) * right.size(1) : values.numel(); }

at::Tensor Gradient::dense() const {
  if (!has_factors()) {
    return values;
  }
  const at::Tensor all = at::empty({left.size(1), right.size(1)}, left.options());
  auto* out = all.mutable_data_ptr<float>();
  for_rows(*this, [&](std::int64_t row) { factored_row(*this, row, out + row * right.size(1)); });
  return all.view({-1});
}

void factored_row(const Gradient& gradient, std::int64_t row, float* out) {
  const std::int64_t rank = gradient.left.size(0);
  const std::int64_t rows = gradient.left.size(1);
  const std::int64_t columns = gradient.right.size(1);
  const auto* left = gradient.left.const_data_ptr<float>();
  const auto* right = gradient.right.const_data_ptr<float>();
  set_multiple(out, right, left[row], columns);
  for (std::int64_t k = 1; k < rank; ++k) {
    add_multiple(out, right + k * columns, left[k * rows + row], columns);
  }
}

void subtract_factored(const at::Tensor& matrix, const Gradient& gradient) {
  const std::int64_t rank = gradient.left.size(0);
  const std::int64_t rows = gradient.left.size(1);
  const std::int64_t columns = gradient.right.size(1);
  require(matrix.is_contiguous() && matrix.numel() == gradient.numel(),
          "factors are subtracted from a matrix of another size");
  if (!matrix.is_cpu()) {
    // Where the matrix is: what a rank owes is its own, and need not be the same bits on all of them.
    matrix.view({rows, columns})
        .addmm_(gradient.left.to(matrix.device()).t(), gradient.right.to(matrix.device()), 1, -1);
    return;
  }
  const auto* left = gradient.left.const_data_ptr<float>();
  const auto* right = gradient.right.const_data_ptr<float>();
  auto* out = matrix.mutable_data_ptr<float>();
  for_rows(gradient, [&](std::int64_t row) {
    for (std::int64_t k = 0; k < rank; ++k) {
      add_multiple(out + row * columns, right + k * columns, -left[k * rows + row], columns);
    }
  });
}

}  // namespace slicereduce
