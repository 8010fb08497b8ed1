#include "core/gradient.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace slicereduce {
namespace {

Gradient factored(std::int64_t rank, std::int64_t rows, std::int64_t columns) {
  return {at::randn({rank, rows}), at::randn({rank, columns})};
}

at::Tensor exact(const Gradient& gradient) {
  return gradient.left.to(at::kDouble).t().mm(gradient.right.to(at::kDouble));
}

TEST(Gradient, OfNumbersIsTheseNumbers) {
  const at::Tensor numbers = at::randn({12});
  const Gradient gradient = numbers;
  EXPECT_FALSE(gradient.has_factors());
  EXPECT_EQ(gradient.numel(), 12);
  EXPECT_TRUE(gradient.dense().is_same(numbers));
}

TEST(Gradient, OfFactorsIsTheirProduct) {
  for (const std::int64_t rank : {1, 2, 5}) {
    const Gradient gradient = factored(rank, 40, 91);
    EXPECT_TRUE(gradient.has_factors());
    EXPECT_EQ(gradient.numel(), 40 * 91);
    EXPECT_EQ(gradient.dense().sizes(), (std::vector<std::int64_t>{40 * 91}));
    EXPECT_TRUE(at::allclose(gradient.dense().view({40, 91}).to(at::kDouble), exact(gradient), 1e-5, 1e-5));
  }
}

TEST(Gradient, ARowHasTheBitsOfTheWhole) {
  const Gradient gradient = factored(3, 17, 33);
  const at::Tensor dense = gradient.dense().view({17, 33});
  at::Tensor row = at::empty({33});
  for (std::int64_t r = 0; r < 17; ++r) {
    factored_row(gradient, r, row.mutable_data_ptr<float>());
    EXPECT_TRUE(row.equal(dense[r])) << r;
  }
}

TEST(Gradient, HasTheSameBitsOnAnyNumberOfThreads) {
  const Gradient gradient = factored(3, 700, 900);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor alone = gradient.dense();
  at::set_num_threads(4);
  const at::Tensor together = gradient.dense();
  at::set_num_threads(threads);
  EXPECT_TRUE(alone.equal(together));
}

TEST(Gradient, IsSubtractedAndAnotherAddedToTheBitAsOneAfterTheOther) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const Gradient gradient = factored(3, 30, 65);
    const at::Tensor matrix = at::randn({30, 65});
    const at::Tensor added = at::randn({30 * 65}).to(type);
    const at::Tensor expected = matrix.clone();
    subtract_factored(expected, gradient);
    expected.add_(added.view({30, 65}));
    subtract_factored_and_add(matrix, gradient, added);
    EXPECT_TRUE(matrix.equal(expected));
    subtract_factored_and_add(matrix, {}, added);
    EXPECT_TRUE(matrix.equal(expected.add_(added.view({30, 65}))));
  }
}

TEST(Gradient, IsSubtractedFromAMatrix) {
  for (const std::int64_t rank : {1, 4}) {
    const Gradient gradient = factored(rank, 30, 65);
    const at::Tensor matrix = at::randn({30, 65});
    const at::Tensor expected = matrix.to(at::kDouble) - exact(gradient);
    subtract_factored(matrix, gradient);
    EXPECT_TRUE(at::allclose(matrix.to(at::kDouble), expected, 1e-5, 1e-5));
  }
}

}  // namespace
}  // namespace slicereduce
