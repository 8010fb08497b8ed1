#include "imagenet/epoch_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>
#include <string>
#include <tuple>

#include "core/error.hpp"

namespace slicereduce {
namespace {

std::vector<std::int64_t> step_of_all_ranks(EpochOrder& order, std::int64_t epoch, std::int64_t step,
                                            int world_size) {
  std::vector<std::int64_t> all;
  for (int rank = 0; rank < world_size; ++rank) {
    const auto part = order.indices(epoch, step, rank);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

std::vector<std::int64_t> epoch_of_all_ranks(EpochOrder& order, std::int64_t epoch, int world_size) {
  std::vector<std::int64_t> all;
  for (std::int64_t step = 0; step < order.steps_per_epoch(); ++step) {
    const auto part = step_of_all_ranks(order, epoch, step, world_size);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

std::vector<std::int64_t> counting(std::int64_t size) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(size));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

using Sizes = std::tuple<std::int64_t, std::int64_t, int>;  // dataset, global batch, world
class EpochOrderOf : public ::testing::TestWithParam<Sizes> {};

TEST_P(EpochOrderOf, EveryImageComesOnceAnEpoch) {
  const auto [size, global_batch_size, world_size] = GetParam();
  EpochOrder order(size, global_batch_size, world_size, 11);
  for (const std::int64_t epoch : {0, 1, 2}) {
    auto all = epoch_of_all_ranks(order, epoch, world_size);
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, counting(size));
  }
}

TEST_P(EpochOrderOf, StepsAreFullExceptTheLastTwoAndRanksAreEven) {
  const auto [size, global_batch_size, world_size] = GetParam();
  EpochOrder order(size, global_batch_size, world_size, 11);
  const std::int64_t steps = order.steps_per_epoch();
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::int64_t total = order.global_count(step);
    if (step < steps - 2 || size % global_batch_size == 0) {
      EXPECT_EQ(total, global_batch_size);
    }
    EXPECT_LE(total, global_batch_size);
    EXPECT_GE(total, global_batch_size / 2);
    for (int rank = 0; rank < world_size; ++rank) {
      const auto count = static_cast<std::int64_t>(order.indices(0, step, rank).size());
      EXPECT_EQ(count, order.count(step, rank));
      EXPECT_LE(count, (global_batch_size + world_size - 1) / world_size);
      EXPECT_GE(count, std::max<std::int64_t>(1, total / world_size));
      EXPECT_LE(count, total / world_size + 1);
    }
  }
  if (steps > 1) {
    EXPECT_LE(order.global_count(steps - 2) - order.global_count(steps - 1), 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, EpochOrderOf,
                         ::testing::Values(Sizes{12, 6, 2}, Sizes{13, 6, 2}, Sizes{17, 6, 2}, Sizes{6, 6, 2},
                                           Sizes{7, 6, 2}, Sizes{1, 1, 1}, Sizes{9, 3, 3}, Sizes{100, 14, 7},
                                           Sizes{101, 16, 1}, Sizes{1000, 96, 3}, Sizes{997, 80, 8},
                                           Sizes{50, 12, 4}, Sizes{53, 20, 5}, Sizes{100, 10, 3},
                                           Sizes{53, 17, 4}),
                         [](const auto& sizes) {
                           return std::to_string(std::get<0>(sizes.param)) + "ImagesBatch" +
                                  std::to_string(std::get<1>(sizes.param)) + "World" +
                                  std::to_string(std::get<2>(sizes.param));
                         });

TEST(EpochOrder, IsNewEachEpochAndForEachSeed) {
  EpochOrder order(500, 10, 1, 11);
  EpochOrder other_seed(500, 10, 1, 12);
  const auto first = epoch_of_all_ranks(order, 0, 1);
  EXPECT_NE(first, epoch_of_all_ranks(order, 1, 1));
  EXPECT_NE(first, epoch_of_all_ranks(other_seed, 0, 1));
  EXPECT_EQ(first, epoch_of_all_ranks(order, 0, 1));
}

TEST(EpochOrder, TheSameGlobalBatchHoldsTheSameImagesOnAnyNumberOfRanks) {
  EpochOrder one(1003, 24, 1, 11);
  for (const int world_size : {2, 3, 4, 5, 7}) {
    EpochOrder many(1003, 24, world_size, 11);
    for (std::int64_t step = 0; step < one.steps_per_epoch(); ++step) {
      EXPECT_EQ(step_of_all_ranks(many, 3, step, world_size), one.indices(3, step, 0));
    }
  }
}

TEST(EpochOrder, EveryImageComesOnceAlsoWhereTheNumberOfRanksChangesWithinAnEpoch) {
  constexpr std::int64_t kImages = 1003;
  constexpr std::int64_t kGlobalBatch = 50;
  std::vector<std::int64_t> all;
  std::int64_t step = 0;
  for (const auto& [world_size, until] : {std::pair(4, 7), std::pair(2, 12), std::pair(3, 21)}) {
    EpochOrder order(kImages, kGlobalBatch, world_size, 11);
    ASSERT_EQ(order.steps_per_epoch(), 21);
    for (; step < until; ++step) {
      const auto part = step_of_all_ranks(order, 2, step, world_size);
      all.insert(all.end(), part.begin(), part.end());
    }
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, counting(kImages));
}

TEST(EpochOrder, PlacesImagesUniformly) {
  // Where image 0 comes, over 4000 epochs: chi-square with 9 degrees of freedom, p = 1e-4 at 33.7.
  EpochOrder order(10, 1, 1, 5);
  std::array<int, 10> counts{};
  for (std::int64_t epoch = 0; epoch < 4000; ++epoch) {
    const auto all = epoch_of_all_ranks(order, epoch, 1);
    ++counts.at(static_cast<std::size_t>(std::find(all.begin(), all.end(), 0) - all.begin()));
  }
  double chi_square = 0;
  for (const int count : counts) {
    chi_square += (count - 400.0) * (count - 400.0) / 400.0;
  }
  EXPECT_LT(chi_square, 33.7);
}

std::string usage_error(std::int64_t size, std::int64_t global_batch_size, int world_size) {
  try {
    const EpochOrder order(size, global_batch_size, world_size, 1);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

TEST(EpochOrder, AGlobalBatchLargerThanTheSetIsAnErrorThatNamesBoth) {
  const std::string message = usage_error(100, 101, 4);
  EXPECT_NE(message.find("101 images"), std::string::npos) << message;
  EXPECT_NE(message.find("the 100 of the training set"), std::string::npos) << message;
  EXPECT_EQ(usage_error(100, 100, 4), "");
}

TEST(EpochOrder, NoRankIsLeftWithoutAnImage) {
  EXPECT_NE(usage_error(10, 3, 3), "");
  EXPECT_EQ(usage_error(9, 3, 3), "");
  EXPECT_NE(usage_error(12, 5, 4), "");  // steps of 5, 4 and 3
  EXPECT_EQ(usage_error(13, 5, 4), "");  // of 5, 4 and 4
  EXPECT_NE(usage_error(2, 2, 3), "");
  EXPECT_NE(usage_error(10, 0, 3), "");
}

TEST(ValidationIndices, CoverTheSetOnceWhateverTheWorldSize) {
  for (const std::int64_t size : {0, 1, 5, 12, 100}) {
    for (const int world_size : {1, 2, 3, 8}) {
      std::vector<std::int64_t> all;
      for (int rank = 0; rank < world_size; ++rank) {
        const auto part = validation_indices(size, rank, world_size);
        EXPECT_LE(std::abs(static_cast<std::int64_t>(part.size()) * world_size - size), world_size - 1);
        all.insert(all.end(), part.begin(), part.end());
      }
      std::sort(all.begin(), all.end());
      EXPECT_EQ(all, counting(size));
    }
  }
}

}  // namespace
}  // namespace slicereduce
