#include "comm/reducer.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/support/expect_error.hpp"
#include "tests/support/in_process_ranks.hpp"
#include "tests/support/reducer_contract.hpp"
#include "tests/support/scripted_communicator.hpp"

namespace slicereduce {
namespace {

using testing::expect_error;
using testing::expect_error_from;
using testing::outcomes_of_ranks;
using testing::run_ranks;
using testing::ScriptedCommunicator;

class InProcessReducer
    : public ::testing::TestWithParam<std::tuple<testing::ReducerClause, int /*world_size*/>> {};

TEST_P(InProcessReducer, Holds) { run_ranks(std::get<1>(GetParam()), std::get<0>(GetParam()).run); }

INSTANTIATE_TEST_SUITE_P(Ranks, InProcessReducer,
                         ::testing::Combine(::testing::ValuesIn(testing::kReducerContract),
                                            ::testing::Range(1, 5)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "With" +
                                  std::to_string(std::get<1>(instance.param));
                         });

/// Two buckets of four numbers.
ReducerConfig two_buckets(bool overlap) {
  return {.wire = WireType::fp32, .bucket_bytes = 16, .first_bucket_bytes = 16, .overlap = overlap};
}
const std::vector<std::int64_t> kTwoSlots = {4, 4};

TEST(Reducer, AFullBucketStartsBeforeWait) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    Reducer reducer(scripted, two_buckets(true));
    reducer.begin(kTwoSlots, 1);
    reducer.add(0, at::full({4}, 1.0F));
    while (scripted.started_sums().empty()) {
      std::this_thread::yield();
    }
    reducer.add(1, at::full({4}, 2.0F));
    EXPECT_TRUE(reducer.wait().has_value());
    EXPECT_EQ(scripted.started_sums(), (std::vector<std::size_t>{16, 16}));
  });
}

TEST(Reducer, WithoutOverlapNothingStartsBeforeWait) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    Reducer reducer(scripted, two_buckets(false));
    reducer.begin(kTwoSlots, 1);
    reducer.add(0, at::full({4}, 1.0F));
    reducer.add(1, at::full({4}, 2.0F));
    EXPECT_TRUE(scripted.started_sums().empty());
    EXPECT_TRUE(reducer.wait().has_value());
    EXPECT_EQ(scripted.started_sums().size(), 2U);
  });
}

TEST(Reducer, BucketsGoOutInTheOrderOfTheirSlots) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    Reducer reducer(scripted, {.wire = WireType::fp32, .bucket_bytes = 16, .first_bucket_bytes = 4});
    reducer.begin(std::vector<std::int64_t>{1, 2, 3}, 1);
    // Each rank has another order of add().
    for (const std::int64_t i : {1, 2, 3}) {
      const std::int64_t slot = (i + communicator.rank()) % 3;
      reducer.add(static_cast<std::size_t>(slot), at::full({slot + 1}, 1.0F));
    }
    EXPECT_TRUE(reducer.wait().has_value());
    EXPECT_EQ(scripted.started_sums(), (std::vector<std::size_t>{4, 8, 12}));
  });
}

TEST(Reducer, ABucketIsThereWhileTheNextIsOnItsWay) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    scripted.hold_sums(1, 1);
    Reducer reducer(scripted, two_buckets(true));
    reducer.begin(kTwoSlots, 1);
    reducer.add(0, at::full({4}, 1.0F));
    reducer.add(1, at::full({4}, 2.0F));
    EXPECT_EQ(reducer.wait_for(0), 1U);
    EXPECT_TRUE(reducer.mean(0).dense().equal(at::full({4}, 1.0F)));
    scripted.release();
    EXPECT_EQ(reducer.wait_for(1), 2U);
    EXPECT_TRUE(reducer.mean(1).dense().equal(at::full({4}, 2.0F)));
    EXPECT_TRUE(reducer.wait().has_value());
  });
}

/// The second bucket is back before the first.
TEST(Reducer, WhoWaitsForASlotWaitsForThoseBeforeIt) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    scripted.hold_sums(0, 1);
    Reducer reducer(scripted, two_buckets(true));
    reducer.begin(kTwoSlots, 1);
    reducer.add(0, at::full({4}, 1.0F));
    reducer.add(1, at::full({4}, 2.0F));
    const std::jthread releaser([&] {
      while (scripted.finished_sums() == 0) {
        std::this_thread::yield();
      }
      scripted.release();
    });
    EXPECT_EQ(reducer.wait_for(1), 2U);
    EXPECT_EQ(scripted.finished_sums(), 2U);
    EXPECT_TRUE(reducer.mean(0).dense().equal(at::full({4}, 1.0F)));
    EXPECT_TRUE(reducer.wait().has_value());
  });
}

TEST(Reducer, ASingleRankCountsWhatItWouldSendAndSendsNothing) {
  InProcessGroup group(1);
  ScriptedCommunicator scripted(group.rank(0));
  Reducer reducer(scripted, {.wire = WireType::bf16});
  reducer.begin(kTwoSlots, 1);
  reducer.add(0, at::full({4}, 1 + 0x1p-12F));
  reducer.add(1, at::full({4}, 2.0F));
  const ReduceTimes times = reducer.wait().value_or(ReduceTimes{.wire_bytes = -1});
  EXPECT_EQ(times.wire_bytes, 16);
  EXPECT_EQ(times.comm_ms, 0);
  EXPECT_TRUE(scripted.started_sums().empty());
  EXPECT_TRUE(reducer.mean(0).dense().equal(at::full({4}, 1.0F, at::kBFloat16))) << "the wire rounds";
}

TEST(Reducer, AMissingSlotIsNamed) {
  for (const auto& outcome : outcomes_of_ranks(2, [](Communicator& communicator) {
         Reducer reducer(communicator, two_buckets(true));
         reducer.begin(kTwoSlots, 1);
         reducer.add(0, at::zeros({4}));
         (void)reducer.wait();
       })) {
    expect_error(outcome, ErrorKind::invariant, "gradient of slot 1 of 2 was not added");
  }
}

TEST(Reducer, AFailureOfACollectiveIsThrownByWait) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    scripted.fail_sums("unplugged");
    Reducer reducer(scripted, two_buckets(true));
    reducer.begin(kTwoSlots, 1);
    reducer.add(0, at::zeros({4}));
    reducer.add(1, at::zeros({4}));
    expect_error_from([&] { (void)reducer.wait_for(0); }, ErrorKind::mpi, "unplugged");
    expect_error_from([&] { (void)reducer.wait(); }, ErrorKind::mpi, "unplugged");
    communicator.barrier();
  });
}

TEST(Reducer, AHangIsAnErrorAfterTheTimeout) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    scripted.hang();
    auto config = two_buckets(true);
    config.timeout = std::chrono::milliseconds(1);
    Reducer reducer(scripted, config);
    reducer.begin(kTwoSlots, 1);
    reducer.add(0, at::zeros({4}));
    reducer.add(1, at::zeros({4}));
    expect_error_from([&] { (void)reducer.wait(); }, ErrorKind::mpi, "is not done after");
    communicator.barrier();
  });
}

TEST(Reducer, KeepsTheMemoryOrderOfAGradient) {
  InProcessGroup group(1);
  Reducer reducer(group.rank(0), {});
  const auto gradient = at::randn({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  reducer.begin(std::vector<std::int64_t>{gradient.numel()}, 1);
  reducer.add(0, gradient);
  ASSERT_TRUE(reducer.wait().has_value());
  EXPECT_TRUE(reducer.mean(0).dense().as_strided(gradient.sizes(), gradient.strides()).equal(gradient));
}

TEST(Reducer, RefusesWhatItCannotCopy) {
  InProcessGroup group(1);
  Reducer reducer(group.rank(0), {});
  reducer.begin(kTwoSlots, 1);
  const auto refused = [&](std::size_t slot, const at::Tensor& gradient, const std::string& why) {
    expect_error_from([&] { reducer.add(slot, gradient); }, ErrorKind::invariant, why);
  };
  refused(0, at::Tensor(), "there is none");
  refused(0, at::zeros({5}), "5 numbers, but begin() was told 4");
  refused(0, at::zeros({1}).expand({4}), "gaps or overlaps");
  refused(0, at::zeros({4, 2}).select(1, 0), "gaps or overlaps");
  refused(0, at::zeros({4}, at::kDouble), "not Double");
  refused(2, at::zeros({4}), "beyond");
  reducer.add(0, at::zeros({4}));
  refused(0, at::zeros({4}), "twice");
}

TEST(Reducer, RoundsAreBeginAddWait) {
  InProcessGroup group(1);
  Reducer reducer(group.rank(0), {});
  expect_error_from([&] { (void)reducer.wait(); }, ErrorKind::invariant, "without begin");
  expect_error_from([&] { (void)reducer.wait_for(0); }, ErrorKind::invariant, "without begin");
  reducer.begin(kTwoSlots, 1);
  expect_error_from([&] { reducer.begin(kTwoSlots, 1); }, ErrorKind::invariant, "before the last one's wait");
  reducer.add(0, at::zeros({4}));
  reducer.add(1, at::zeros({4}));
  ASSERT_TRUE(reducer.wait().has_value());
  expect_error_from([&] { reducer.add(0, at::zeros({4})); }, ErrorKind::invariant, "outside");
}

TEST(Reducer, RefusesConfigurationsThatCannotRun) {
  InProcessGroup group(1);
  const auto refused = [&](const ReducerConfig& config, const std::string& why) {
    expect_error_from([&] { Reducer reducer(group.rank(0), config); }, ErrorKind::usage, why);
  };
  refused({.bucket_bytes = 0}, "a bucket of 0 bytes");
  refused({.first_bucket_bytes = -1}, "a first bucket of -1 bytes");
  refused({.timeout = std::chrono::milliseconds(0)}, "--timeout");
}

}  // namespace
}  // namespace slicereduce
