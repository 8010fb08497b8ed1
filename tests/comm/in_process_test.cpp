#include "comm/in_process.hpp"

#include <gtest/gtest.h>

#include "tests/support/communicator_contract.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/in_process_ranks.hpp"

namespace slicereduce {
namespace {

using testing::EncodedNumbers;
using testing::expect_error;
using testing::outcomes_of_ranks;
using testing::run_ranks;

class InProcessContract
    : public ::testing::TestWithParam<std::tuple<testing::ContractClause, int /*world_size*/>> {};

TEST_P(InProcessContract, Holds) { run_ranks(std::get<1>(GetParam()), std::get<0>(GetParam()).run); }

INSTANTIATE_TEST_SUITE_P(Ranks, InProcessContract,
                         ::testing::Combine(::testing::ValuesIn(testing::kCommunicatorContract),
                                            ::testing::Range(1, 6)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "With" +
                                  std::to_string(std::get<1>(instance.param));
                         });

TEST(InProcessGroup, StartedAllreduceIsNotDoneBeforeAllRanksStarted) {
  InProcessGroup group(2);
  EncodedNumbers first({1}, WireType::fp32);
  EncodedNumbers second({2}, WireType::fp32);
  const auto pending = group.rank(0).start_allreduce(first.buffer());
  EXPECT_FALSE(pending->test());
  const auto other = group.rank(1).start_allreduce(second.buffer());
  EXPECT_TRUE(pending->test());
  EXPECT_TRUE(other->test());
  EXPECT_EQ(first.values(), std::vector<float>{3});
  EXPECT_EQ(second.values(), std::vector<float>{3});
}

TEST(InProcessGroup, SumsInRankOrder) {
  // In fp32, (2^24 + 1) + 1 is 2^24 and 2^24 + (1 + 1) is not.
  InProcessGroup group(3);
  std::vector<EncodedNumbers> numbers(3, EncodedNumbers({1}, WireType::fp32));
  numbers[0] = EncodedNumbers({0x1p24F}, WireType::fp32);
  std::vector<std::unique_ptr<Pending>> pending(3);
  for (const int rank : {2, 1, 0}) {
    const auto i = static_cast<std::size_t>(rank);
    pending[i] = group.rank(rank).start_allreduce(numbers[i].buffer());
  }
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(pending[i]->test());
    EXPECT_EQ(numbers[i].values(), std::vector<float>{0x1p24F});
  }
}

TEST(InProcessGroup, DifferentSizesAreAnErrorOnAllRanks) {
  for (const auto& outcome : outcomes_of_ranks(3, [](Communicator& communicator) {
         EncodedNumbers numbers(std::vector<float>(communicator.rank() == 2 ? 5 : 4), WireType::fp32);
         testing::finish(*communicator.start_allreduce(numbers.buffer()));
       })) {
    expect_error(outcome, ErrorKind::disagreement, "same collectives in the same order");
  }
}

TEST(InProcessGroup, DifferentTypesOfOneSizeAreAnErrorOnAllRanks) {
  for (const auto& outcome : outcomes_of_ranks(2, [](Communicator& communicator) {
         EncodedNumbers numbers({1, 2}, communicator.rank() == 0 ? WireType::bf16 : WireType::fp16);
         testing::finish(*communicator.start_allreduce(numbers.buffer()));
       })) {
    expect_error(outcome, ErrorKind::disagreement, "4 bytes");
  }
}

TEST(InProcessGroup, DifferentBlockingCallsAreAnErrorOnAllRanks) {
  for (const auto& outcome : outcomes_of_ranks(2, [](Communicator& communicator) {
         if (communicator.rank() == 0) {
           communicator.barrier();
         } else {
           communicator.allreduce_sum({});
         }
       })) {
    expect_error(outcome, ErrorKind::disagreement, "barrier");
  }
}

TEST(InProcessGroup, ARankThatLeavesIsAnErrorOfThoseThatWait) {
  const auto outcomes = outcomes_of_ranks(3, [](Communicator& communicator) {
    if (communicator.rank() == 1) {
      throw Error(ErrorKind::io, "disk full");
    }
    communicator.barrier();
  });
  expect_error(outcomes[0], ErrorKind::mpi, "rank 1 threw");
  expect_error(outcomes[1], ErrorKind::io, "disk full");
  expect_error(outcomes[2], ErrorKind::mpi, "rank 1 threw");
}

TEST(InProcessGroup, NeedsARank) {
  testing::expect_error_from([] { InProcessGroup group(0); }, ErrorKind::invariant, "needs a rank");
}

}  // namespace
}  // namespace slicereduce
