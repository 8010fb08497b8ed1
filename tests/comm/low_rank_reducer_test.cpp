#include "comm/low_rank_reducer.hpp"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.hpp"
#include "tests/support/in_process_ranks.hpp"
#include "tests/support/low_rank_contract.hpp"
#include "tests/support/scripted_communicator.hpp"

namespace slicereduce {
namespace {

using testing::expect_error_from;
using testing::few_buckets;
using testing::run_ranks;
using testing::ScriptedCommunicator;

class InProcessLowRank
    : public ::testing::TestWithParam<std::tuple<testing::LowRankClause, int /*world_size*/>> {};

TEST_P(InProcessLowRank, Holds) { run_ranks(std::get<1>(GetParam()), std::get<0>(GetParam()).run); }

INSTANTIATE_TEST_SUITE_P(Ranks, InProcessLowRank,
                         ::testing::Combine(::testing::ValuesIn(testing::kLowRankContract),
                                            ::testing::Range(1, 5)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "With" +
                                  std::to_string(std::get<1>(instance.param));
                         });

/// Two matrices of a bucket each.
const std::vector<SlotShape> kTwoMatrices{{.rows = 10, .columns = 20}, {.rows = 10, .columns = 20}};
ReducerConfig one_each() { return {.wire = WireType::fp32, .bucket_bytes = 800, .first_bucket_bytes = 800}; }

TEST(LowRankReducer, QGoesOutBehindTheNextP) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    LowRankReducer reducer(scripted, one_each(), {.rank = 1});
    reducer.begin(kTwoMatrices, 1, false);
    for (std::size_t slot = 0; slot < 2; ++slot) {
      reducer.add(slot, testing::gradient_of(kTwoMatrices[slot], slot, communicator.rank(), 0));
    }
    EXPECT_TRUE(reducer.wait().has_value());
    EXPECT_EQ(scripted.started_sums(), (std::vector<std::size_t>{40, 40, 80, 80}));
  });
}

/// P0 P1 Q0 Q1: while Q1 is on its way, the first bucket is there.
TEST(LowRankReducer, ABucketIsThereWhileTheNextIsOnItsWay) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    scripted.hold_sums(3, 1);
    LowRankReducer reducer(scripted, one_each(), {.rank = 1});
    reducer.begin(kTwoMatrices, 1, false);
    for (std::size_t slot = 0; slot < 2; ++slot) {
      reducer.add(slot, testing::gradient_of(kTwoMatrices[slot], slot, communicator.rank(), 0));
    }
    EXPECT_EQ(reducer.wait_for(0), 1U);
    EXPECT_GT(reducer.mean(0).dense().abs().sum().item<double>(), 0);
    scripted.release();
    EXPECT_EQ(reducer.wait_for(1), 2U);
    EXPECT_TRUE(reducer.wait().has_value());
  });
}

/// The columns of a larger matrix keep their own start, whatever is cut from it in between.
TEST(LowRankReducer, RemembersFactorsInTheirPlaces) {
  InProcessGroup group(1);
  const std::vector<std::int32_t> first{0, 2, 3};
  const std::vector<std::int32_t> second{1, 3, 4};
  const auto cut = [](const std::vector<std::int32_t>& kept) {
    return std::vector<SlotShape>{
        {.rows = 16, .columns = 12, .whole_columns = 20, .kept = kept, .groups = 4}};
  };
  LowRankReducer reducer(group.rank(0), few_buckets(WireType::fp32), {.rank = 2});
  (void)testing::reduce_round(reducer, cut(first), 0, 0);
  const at::Tensor before = reducer.remembered()[0].clone();
  (void)testing::reduce_round(reducer, cut(second), 0, 1);
  const at::Tensor after = reducer.remembered()[0];
  EXPECT_EQ(after.sizes(), (std::vector<std::int64_t>{2, 20}));
  const at::Tensor changed = (after != before).view({2, 4, 5});
  for (const std::int64_t column : {0, 2}) {
    EXPECT_FALSE(changed.select(2, column).any().item<bool>());
  }
  for (const std::int64_t column : {1, 3, 4}) {
    EXPECT_TRUE(changed.select(2, column).all().item<bool>());
  }
}

/// As a convolution's gradient comes: what lies in a row of memory is a row of the matrix.
TEST(LowRankReducer, TakesAMatrixAsItLiesInMemory) {
  InProcessGroup group(1);
  const std::vector<SlotShape> slots{{.rows = 16, .columns = 36}};
  const at::Tensor matrix = testing::gradient_of(slots[0], 0, 0, 1);
  std::vector<at::Tensor> results;
  for (const at::Tensor& gradient :
       {matrix.clone(), matrix.clone().view({16, 3, 3, 4}).permute({0, 3, 1, 2})}) {
    LowRankReducer reducer(group.rank(0), few_buckets(WireType::fp32), {.rank = 2});
    reducer.begin(slots, 1, false);
    reducer.add(0, gradient);
    ASSERT_TRUE(reducer.wait().has_value());
    reducer.subtract_sent(0, gradient);
    results.push_back(reducer.mean(0).dense());
    results.push_back(gradient.as_strided({16 * 36}, {1}));
  }
  EXPECT_TRUE(results[0].equal(results[2]));
  EXPECT_TRUE(results[1].equal(results[3]));
}

TEST(LowRankReducer, GoesOnWithWhatAnotherRemembered) {
  InProcessGroup group(1);
  const auto slots = testing::mixed_slots();
  LowRankReducer reducer(group.rank(0), few_buckets(WireType::bf16), {.rank = 2});
  (void)testing::reduce_round(reducer, slots, 0, 0);
  LowRankReducer resumed(group.rank(0), few_buckets(WireType::bf16), {.rank = 2});
  std::vector<at::Tensor> copies;
  for (const at::Tensor& factor : reducer.remembered()) {
    copies.push_back(factor.defined() ? factor.clone() : factor);
  }
  resumed.remember(copies);
  (void)testing::reduce_round(reducer, slots, 0, 1);
  (void)testing::reduce_round(resumed, slots, 0, 1);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    EXPECT_TRUE(reducer.mean(slot).dense().equal(resumed.mean(slot).dense()));
  }
}

TEST(LowRankReducer, StartsAnewWhereWhatWasRememberedDoesNotFit) {
  InProcessGroup group(1);
  const auto slots = testing::mixed_slots();
  LowRankReducer narrow(group.rank(0), few_buckets(WireType::fp32), {.rank = 1});
  (void)testing::reduce_round(narrow, slots, 0, 0);
  LowRankReducer wide(group.rank(0), few_buckets(WireType::fp32), {.rank = 4});
  LowRankReducer fresh(group.rank(0), few_buckets(WireType::fp32), {.rank = 4});
  wide.remember(narrow.remembered());
  (void)testing::reduce_round(wide, slots, 0, 1);
  (void)testing::reduce_round(fresh, slots, 0, 1);
  EXPECT_TRUE(wide.mean(3).dense().equal(fresh.mean(3).dense()));
}

TEST(LowRankReducer, AZeroGradientIsZeroAndLeavesItAbleToGoOn) {
  InProcessGroup group(1);
  const std::vector<SlotShape> slots{{.rows = 20, .columns = 30}};
  LowRankReducer reducer(group.rank(0), few_buckets(WireType::bf16), {.rank = 3});
  reducer.begin(slots, 1, false);
  reducer.add(0, at::zeros({20, 30}));
  ASSERT_TRUE(reducer.wait().has_value());
  EXPECT_EQ(reducer.mean(0).dense().abs().sum().item<double>(), 0);
  (void)testing::reduce_round(reducer, slots, 0, 1);
  EXPECT_GT(reducer.mean(0).dense().abs().sum().item<double>(), 0);
}

TEST(LowRankReducer, SaysWhichSlotIsMissing) {
  InProcessGroup group(1);
  LowRankReducer reducer(group.rank(0), one_each(), {.rank = 1});
  reducer.begin(kTwoMatrices, 1, false);
  reducer.add(0, at::zeros({10, 20}));
  expect_error_from([&] { reducer.add(0, at::zeros({10, 20})); }, ErrorKind::invariant,
                    "slot 0 is added twice");
  expect_error_from([&] { (void)reducer.wait(); }, ErrorKind::invariant, "slot 1 of 2 was not added");
  expect_error_from([&] { reducer.add(1, at::zeros({10, 19})); }, ErrorKind::invariant, "190 numbers");
}

}  // namespace
}  // namespace slicereduce
