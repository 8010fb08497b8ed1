#include "comm/allreduce_thread.hpp"

#include <gtest/gtest.h>

#include <array>
#include <latch>

#include "tests/support/communicator_contract.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/in_process_ranks.hpp"
#include "tests/support/scripted_communicator.hpp"

namespace slicereduce {
namespace {

using namespace std::chrono_literals;
using testing::EncodedNumbers;
using testing::integers;
using testing::run_ranks;
using testing::ScriptedCommunicator;
using testing::summed_integers;

constexpr std::chrono::milliseconds kPatient = 60s;

TEST(AllreduceThread, SumsAllThatWasSubmitted) {
  for (const int world_size : {1, 2, 3}) {
    run_ranks(world_size, [&](Communicator& communicator) {
      AllreduceThread thread(communicator, kPatient);
      for (int step = 0; step < 5; ++step) {
        std::vector<EncodedNumbers> numbers;
        for (std::size_t i = 0; i < 8; ++i) {
          numbers.emplace_back(integers(i * 50, communicator.rank()), WireType::bf16);
        }
        thread.submit_agreement(static_cast<std::uint64_t>(step));
        for (auto& one : numbers) {
          thread.submit(one.buffer());
        }
        const AllreduceRound round = thread.wait_all();
        EXPECT_TRUE(round.agreed);
        EXPECT_EQ(round.allreduces.size(), numbers.size());
        EXPECT_EQ(round.bytes(), 2 * 50 * (7 * 8 / 2));
        EXPECT_GE(round.busy().count(), 0);
        for (std::size_t i = 0; i < numbers.size(); ++i) {
          EXPECT_EQ(numbers[i].values(), summed_integers(i * 50, world_size));
        }
      }
    });
  }
}

TEST(AllreduceThread, TellsWhenOneOfARoundIsDone) {
  run_ranks(2, [](Communicator& communicator) {
    AllreduceThread thread(communicator, kPatient);
    for (const std::uint64_t value : {7U, 8U}) {
      EncodedNumbers first(integers(50, communicator.rank()), WireType::fp32);
      EncodedNumbers second(integers(50, communicator.rank()), WireType::fp32);
      const bool agrees = value == 7;
      thread.submit_agreement(agrees ? value : value + static_cast<std::uint64_t>(communicator.rank()));
      thread.submit(first.buffer());
      EXPECT_EQ(thread.wait_for(0), agrees);
      EXPECT_EQ(thread.finished(0), agrees);
      EXPECT_FALSE(thread.finished(1));
      if (agrees) {
        EXPECT_EQ(first.values(), summed_integers(50, 2));
        thread.submit(second.buffer());
        EXPECT_TRUE(thread.wait_for(1));
        EXPECT_EQ(second.values(), summed_integers(50, 2));
      }
      EXPECT_EQ(thread.wait_all().agreed, agrees);
      EXPECT_FALSE(thread.finished(0)) << "a new round";
    }
  });
}

TEST(AllreduceThread, WaitsForTheFirstOfSeveral) {
  run_ranks(2, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    scripted.hold_sums(1, 1);
    AllreduceThread thread(scripted, kPatient);
    EncodedNumbers first(integers(50, communicator.rank()), WireType::fp32);
    EncodedNumbers second(integers(50, communicator.rank()), WireType::fp32);
    thread.submit(first.buffer());
    thread.submit(second.buffer());
    EXPECT_TRUE(thread.wait_for_any(std::array<std::size_t, 3>{2, 1, 0})) << "2 was not even submitted";
    EXPECT_TRUE(thread.finished(0));
    EXPECT_FALSE(thread.finished(1));
    scripted.release();
    EXPECT_TRUE(thread.wait_for(1));
    EXPECT_EQ(thread.wait_all().allreduces.size(), 2U);
  });
}

TEST(AllreduceThread, OneRanksWishToStopReachesAllOnce) {
  run_ranks(3, [](Communicator& communicator) {
    AllreduceThread thread(communicator, kPatient);
    for (int step = 0; step < 3; ++step) {
      thread.submit_agreement(7, /*wants_stop=*/step == 1 && communicator.rank() == 2);
      const AllreduceRound round = thread.wait_all();
      EXPECT_TRUE(round.agreed);
      EXPECT_EQ(round.stop_requested, step == 1);
    }
  });
}

TEST(AllreduceThread, AnEmptyRoundIsDoneAtOnce) {
  run_ranks(2, [](Communicator& communicator) {
    AllreduceThread thread(communicator, kPatient);
    const AllreduceRound round = thread.wait_all();
    EXPECT_TRUE(round.agreed);
    EXPECT_TRUE(round.allreduces.empty());
    EXPECT_EQ(round.busy().count(), 0);
  });
}

TEST(AllreduceThread, StartsWhileTheSubmitterIsBusy) {
  // Neither rank waits before the other rank's sum has arrived: only the thread can have moved it.
  run_ranks(2, [](Communicator& communicator) {
    EncodedNumbers numbers({1}, WireType::fp32);
    ScriptedCommunicator scripted(communicator);
    AllreduceThread thread(scripted, kPatient);
    thread.submit(numbers.buffer());
    while (scripted.started_sums().empty()) {
      std::this_thread::yield();
    }
    EXPECT_EQ(thread.wait_all().allreduces.size(), 1U);
  });
}

TEST(AllreduceThread, DisagreementIsKnownToAllRanksAndNothingIsReduced) {
  run_ranks(3, [](Communicator& communicator) {
    ScriptedCommunicator scripted(communicator);
    AllreduceThread thread(scripted, kPatient);
    EncodedNumbers numbers({7}, WireType::fp32);
    thread.submit_agreement(communicator.rank() == 1 ? 5 : 4);
    thread.submit(numbers.buffer());
    thread.submit(numbers.buffer());
    const AllreduceRound round = thread.wait_all();
    EXPECT_FALSE(round.agreed);
    EXPECT_TRUE(round.allreduces.empty());
    EXPECT_TRUE(scripted.started_sums().empty());
    EXPECT_EQ(numbers.values(), std::vector<float>{7});
  });
}

TEST(AllreduceThread, ARoundAfterADisagreementRunsAsUsual) {
  run_ranks(2, [](Communicator& communicator) {
    AllreduceThread thread(communicator, kPatient);
    EncodedNumbers numbers({1}, WireType::fp32);
    thread.submit_agreement(static_cast<std::uint64_t>(communicator.rank()));
    thread.submit(numbers.buffer());
    EXPECT_FALSE(thread.wait_all().agreed);
    thread.submit_agreement(3);
    thread.submit(numbers.buffer());
    EXPECT_TRUE(thread.wait_all().agreed);
    EXPECT_EQ(numbers.values(), std::vector<float>{2});
  });
}

TEST(AllreduceThread, ValuesThatDifferOnlyInTheirComplementDisagree) {
  run_ranks(2, [](Communicator& communicator) {
    AllreduceThread thread(communicator, kPatient);
    thread.submit_agreement(communicator.rank() == 0 ? 0 : ~std::uint64_t{0});
    EXPECT_FALSE(thread.wait_all().agreed);
  });
}

TEST(AllreduceThread, NothingStartsBeforeTheRanksAreKnownToAgree) {
  InProcessGroup group(2);
  ScriptedCommunicator scripted(group.rank(0));
  EncodedNumbers first({1}, WireType::fp32);
  EncodedNumbers second({2}, WireType::fp32);
  AllreduceThread thread(scripted, kPatient);
  thread.submit_agreement(9);
  thread.submit(first.buffer());
  // Rank 1 agrees late; until then rank 0's bucket stays at home.
  EXPECT_TRUE(scripted.started_sums().empty());
  std::array<std::uint64_t, 3> agreement = {9, ~std::uint64_t{9}, 1};
  testing::finish(*group.rank(1).start_allreduce_min(agreement));
  testing::finish(*group.rank(1).start_allreduce(second.buffer()));
  EXPECT_TRUE(thread.wait_all().agreed);
  EXPECT_EQ(second.values(), std::vector<float>{3});
}

TEST(AllreduceThread, AFailureIsThrownByEveryLaterWait) {
  InProcessGroup group(1);
  ScriptedCommunicator scripted(group.rank(0));
  scripted.fail_sums("the link is on fire");
  AllreduceThread thread(scripted, kPatient);
  EncodedNumbers numbers({1}, WireType::fp32);
  for (int round = 0; round < 2; ++round) {
    thread.submit(numbers.buffer());
    testing::expect_error_from([&] { (void)thread.wait_all(); }, ErrorKind::mpi, "the link is on fire");
  }
  EXPECT_EQ(scripted.started_sums().size(), 1U);
}

TEST(AllreduceThread, AHangNamesTheBucketAndTheTime) {
  InProcessGroup group(1);
  ScriptedCommunicator scripted(group.rank(0));
  AllreduceThread thread(scripted, 1ms);
  EncodedNumbers numbers({1, 2, 3}, WireType::bf16);
  thread.submit(numbers.buffer());
  EXPECT_EQ(thread.wait_all().allreduces.size(), 1U);
  scripted.hang();
  thread.submit(numbers.buffer());
  testing::expect_error_from([&] { (void)thread.wait_all(); }, ErrorKind::mpi,
                             "allreduce of bucket 0 (6 bytes of bf16) is not done after ");
}

TEST(AllreduceThread, AHangOfTheAgreementIsNamedToo) {
  InProcessGroup group(1);
  ScriptedCommunicator scripted(group.rank(0));
  scripted.hang();
  AllreduceThread thread(scripted, 1ms);
  thread.submit_agreement(1);
  testing::expect_error_from([&] { (void)thread.wait_all(); }, ErrorKind::mpi,
                             "agreement on the step's plan");
}

TEST(AllreduceThread, IsDestroyedWhileAReductionHangs) {
  InProcessGroup group(2);
  ScriptedCommunicator scripted(group.rank(0));
  EncodedNumbers numbers({1}, WireType::fp32);
  {
    AllreduceThread thread(scripted, kPatient);
    thread.submit(numbers.buffer());
  }
  EXPECT_EQ(numbers.values(), std::vector<float>{1});
}

TEST(AllreduceRound, BusyIsTheUnionOfIntervals) {
  const auto at = [](int ms) { return std::chrono::steady_clock::time_point(std::chrono::milliseconds(ms)); };
  AllreduceRound round;
  round.allreduces = {{.started = at(10), .finished = at(20), .bytes = 1},
                      {.started = at(0), .finished = at(5), .bytes = 2},
                      {.started = at(12), .finished = at(15), .bytes = 4},
                      {.started = at(18), .finished = at(23), .bytes = 8}};
  EXPECT_EQ(round.busy(), 18ms);
  EXPECT_EQ(round.bytes(), 15);
}

}  // namespace
}  // namespace slicereduce
