#include "core/random.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

namespace slicereduce {
namespace {

TEST(RandomStream, IsAFunctionOfItsCoordinates) {
  RandomStream first(7, RandomPurpose::plan, 3, 4);
  RandomStream again(7, RandomPurpose::plan, 3, 4);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(first.bits(), again.bits());
  }
}

TEST(RandomStream, EveryCoordinateMatters) {
  std::set<std::uint32_t> firsts;
  firsts.insert(RandomStream(7, RandomPurpose::plan, 3, 4).bits());
  firsts.insert(RandomStream(8, RandomPurpose::plan, 3, 4).bits());
  firsts.insert(RandomStream(7, RandomPurpose::order, 3, 4).bits());
  firsts.insert(RandomStream(7, RandomPurpose::plan, 4, 3).bits());
  firsts.insert(RandomStream(7, RandomPurpose::plan, 3, 5).bits());
  EXPECT_EQ(firsts.size(), 5U);
}

TEST(RandomStream, UniformStaysInsideItsOpenInterval) {
  RandomStream stream(1, RandomPurpose::augment, 0, 0);
  double sum = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double value = stream.uniform();
    ASSERT_GT(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
  }
  // Standard error of the mean is 1 / sqrt(12 n); five of them fail once in two million streams.
  EXPECT_NEAR(sum / kDraws, 0.5, 5 / std::sqrt(12.0 * kDraws));
}

TEST(RandomStream, BelowIsUniform) {
  RandomStream stream(2, RandomPurpose::order, 0, 0);
  std::array<int, 7> counts{};
  constexpr int kDraws = 70'000;
  for (int i = 0; i < kDraws; ++i) {
    ++counts.at(stream.below(counts.size()));
  }
  double chi_square = 0;
  for (const int count : counts) {
    chi_square += (count - 10'000.0) * (count - 10'000.0) / 10'000.0;
  }
  EXPECT_LT(chi_square, 27.9);  // 6 degrees of freedom, p = 1e-4
}

}  // namespace
}  // namespace slicereduce
