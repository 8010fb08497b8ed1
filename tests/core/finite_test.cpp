#include "core/finite.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>

namespace slicereduce {
namespace {

TEST(IsFinite, OneNumberThatIsNotIsFoundWhereverItIs) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const double bad : {infinity, -infinity, std::numeric_limits<double>::quiet_NaN()}) {
      for (const std::int64_t where : {0, 1, 500, 996}) {
        at::Tensor numbers = at::randn({997}).to(type);
        ASSERT_TRUE(is_finite(numbers));
        numbers[where] = bad;
        EXPECT_FALSE(is_finite(numbers)) << type << ' ' << bad << " at " << where;
      }
    }
  }
}

TEST(IsFinite, InfinitiesDoNotCancelOut) {
  at::Tensor numbers = at::zeros({100});
  numbers[3] = std::numeric_limits<float>::infinity();
  numbers[70] = -std::numeric_limits<float>::infinity();
  EXPECT_FALSE(is_finite(numbers));
}

TEST(IsFinite, LargeNumbersAreFinite) {
  EXPECT_TRUE(is_finite(at::full({100}, std::numeric_limits<float>::max())));
  EXPECT_TRUE(is_finite(at::full({100}, 60'000, at::kHalf)));
  EXPECT_TRUE(is_finite(at::empty({0})));
}

}  // namespace
}  // namespace slicereduce
