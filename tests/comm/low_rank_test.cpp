#include "comm/low_rank.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace slicereduce {
namespace {

void expect_orthonormal(const at::Tensor& vectors) {
  const at::Tensor wide = vectors.to(at::kDouble);
  EXPECT_TRUE(at::allclose(wide.mm(wide.t()), at::eye(vectors.size(0), at::kDouble), 0, 1e-6));
}

TEST(Orthonormalize, KeepsTheSpan) {
  for (const std::int64_t n : {1, 2, 7, 64, 1000}) {
    for (const std::int64_t r : {1, 2, 4}) {
      if (r > n) {
        continue;
      }
      const at::Tensor start = at::randn({r, n});
      const at::Tensor vectors = start.clone();
      orthonormalize(vectors);
      expect_orthonormal(vectors);
      const at::Tensor back = start.mm(vectors.t()).mm(vectors);
      EXPECT_TRUE(at::allclose(back, start, 1e-4, 1e-4)) << r << " of " << n;
    }
  }
}

TEST(Orthonormalize, IsExactEnoughForNearlyParallelVectors) {
  const at::Tensor vectors = at::randn({1, 500}).expand({4, 500}) + 1e-3 * at::randn({4, 500});
  orthonormalize(vectors);
  expect_orthonormal(vectors);
}

TEST(Orthonormalize, MakesADependentVectorZero) {
  at::Tensor vectors = at::randn({3, 50});
  vectors[1] = 2 * vectors[0];
  vectors = at::cat({vectors, at::zeros({1, 50})});
  orthonormalize(vectors);
  EXPECT_EQ(vectors[1].abs().sum().item<float>(), 0);
  EXPECT_EQ(vectors[3].abs().sum().item<float>(), 0);
  expect_orthonormal(vectors.index_select(0, at::tensor({0, 2})));
}

TEST(Orthonormalize, LetsWhatIsNotFiniteShow) {
  at::Tensor vectors = at::randn({1, 10});
  vectors[0][3] = std::numeric_limits<float>::quiet_NaN();
  orthonormalize(vectors);
  EXPECT_TRUE(vectors.isnan().any().item<bool>());
}

TEST(OrthonormalizeOrDraw, FillsTheSpace) {
  for (const std::int64_t r : {1, 3, 5}) {
    RandomStream random(1, RandomPurpose::low_rank, 0, 0);
    const at::Tensor vectors = at::zeros({r, 5});
    vectors[0] = at::randn({5});
    orthonormalize_or_draw(vectors, random);
    expect_orthonormal(vectors);
  }
  RandomStream random(1, RandomPurpose::low_rank, 0, 0);
  const at::Tensor more = at::randn({4, 2});  // than there are dimensions
  orthonormalize_or_draw(more, random);
  expect_orthonormal(more.narrow(0, 0, 2));
  EXPECT_EQ(more.narrow(0, 2, 2).abs().sum().item<float>(), 0);
}

TEST(Factors, AreTheMatrixProducts) {
  for (const std::int64_t r : {1, 2, 5}) {
    const at::Tensor m = at::randn({40, 90});
    const at::Tensor q = at::randn({r, 90});
    const at::Tensor p = at::randn({r, 40});
    const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
    EXPECT_TRUE(at::allclose(wide(left_factor(m, q)), wide(m).mm(wide(q).t()).t(), 1e-4, 1e-4));
    EXPECT_TRUE(at::allclose(wide(right_factor(m, p)), wide(p).mm(wide(m)), 1e-4, 1e-4));
  }
}

TEST(LowRankConfig, SendsWholeWhatFactorsWouldNotShrink) {
  const LowRankConfig config{.rank = 4};
  EXPECT_EQ(config.rank_of(64, 576), 4);
  EXPECT_EQ(config.numel_of(64, 576), 4 * (64 + 576));
  EXPECT_EQ(config.rank_of(1, 64), 0);
  EXPECT_EQ(config.numel_of(1, 64), 64);
  EXPECT_EQ(config.rank_of(8, 8), 0);  // 64 numbers in either form
  EXPECT_EQ(config.rank_of(0, 0), 0);
  EXPECT_EQ((LowRankConfig{.rank = 4, .least_compression = 4}).rank_of(16, 100), 0);
  EXPECT_THROW((LowRankConfig{.rank = 0}.validate()), Error);
}

}  // namespace
}  // namespace slicereduce
