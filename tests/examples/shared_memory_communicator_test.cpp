#include "examples/shared_memory_communicator.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#include "core/error.hpp"
#include "tests/support/communicator_contract.hpp"
#include "tests/support/expect_error.hpp"

namespace slicereduce {
namespace {

constexpr std::size_t kMostBytes = 4U << 20;
constexpr std::chrono::seconds kLong{60};
constexpr std::chrono::milliseconds kShort{200};

/// Runs `body` in a process for each rank, and gives the processes' exit codes: a failed expectation in one
/// of them is in its output.
std::vector<int> exit_codes(int world_size, const std::function<void(SharedMemory&, int rank)>& body) {
  SharedMemory memory(world_size, kMostBytes);
  std::fflush(nullptr);  // or children would print it again
  std::vector<pid_t> children;
  for (int rank = 0; rank < world_size; ++rank) {
    const pid_t child = fork();
    if (child == 0) {
      body(memory, rank);
      std::fflush(nullptr);
      _exit(::testing::Test::HasFailure() ? EXIT_FAILURE : EXIT_SUCCESS);
    }
    children.push_back(child);
  }
  std::vector<int> codes;
  for (const pid_t child : children) {
    int status = -1;
    const bool ended = waitpid(child, &status, 0) == child && WIFEXITED(status);
    codes.push_back(ended ? WEXITSTATUS(status) : -1);
  }
  return codes;
}

void run_processes(int world_size, const std::function<void(SharedMemory&, int rank)>& body) {
  EXPECT_EQ(exit_codes(world_size, body), std::vector<int>(static_cast<std::size_t>(world_size)));
}

class SharedMemoryContract
    : public ::testing::TestWithParam<std::tuple<testing::ContractClause, int /*world_size*/>> {};

TEST_P(SharedMemoryContract, Holds) {
  run_processes(std::get<1>(GetParam()), [](SharedMemory& memory, int rank) {
    SharedMemoryCommunicator communicator(memory, rank, kLong);
    std::get<0>(GetParam()).run(communicator);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, SharedMemoryContract,
                         ::testing::Combine(::testing::ValuesIn(testing::kCommunicatorContract),
                                            ::testing::Range(1, 5)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "With" +
                                  std::to_string(std::get<1>(instance.param));
                         });

TEST(RanksAsProcesses, AFailedExpectationInOneIsSeen) {
  const auto codes = exit_codes(2, [](SharedMemory& /*memory*/, int rank) {
    std::fclose(stdout);  // what it says is meant
    EXPECT_EQ(rank, 0);
  });
  EXPECT_EQ(codes, (std::vector<int>{EXIT_SUCCESS, EXIT_FAILURE}));
}

TEST(SharedMemoryCommunicator, AStartedAllreduceIsNotDoneBeforeAllRanksStarted) {
  SharedMemory memory(2, kMostBytes);
  SharedMemoryCommunicator first(memory, 0, kLong);
  SharedMemoryCommunicator second(memory, 1, kLong);
  testing::EncodedNumbers one({1}, WireType::fp32);
  testing::EncodedNumbers two({2}, WireType::fp32);
  const auto pending = first.start_allreduce(one.buffer());
  EXPECT_FALSE(pending->test());
  const auto other = second.start_allreduce(two.buffer());
  EXPECT_TRUE(pending->test());
  EXPECT_TRUE(other->test());
  EXPECT_EQ(one.values(), std::vector<float>{3});
  EXPECT_EQ(two.values(), std::vector<float>{3});
}

/// One that is slow to take a result still finds it, however far another one has gone on.
TEST(SharedMemoryCommunicator, APlaceIsNotUsedAgainBeforeAllRanksAreDoneWithIt) {
  SharedMemory memory(2, kMostBytes);
  SharedMemoryCommunicator fast(memory, 0, kLong);
  SharedMemoryCommunicator slow(memory, 1, kLong);
  const std::size_t rounds = SharedMemory::kPlaces + 2;
  std::vector<testing::EncodedNumbers> of_fast;
  std::vector<testing::EncodedNumbers> of_slow;
  for (std::size_t i = 0; i < rounds; ++i) {
    of_fast.emplace_back(std::vector<float>{static_cast<float>(i)}, WireType::fp32);
    of_slow.emplace_back(std::vector<float>{100}, WireType::fp32);
  }
  std::vector<std::unique_ptr<Pending>> pending;
  for (std::size_t i = 0; i < rounds; ++i) {
    pending.push_back(fast.start_allreduce(of_fast[i].buffer()));
  }
  std::vector<std::unique_ptr<Pending>> others;
  for (std::size_t i = 0; i < rounds; ++i) {
    others.push_back(slow.start_allreduce(of_slow[i].buffer()));
  }
  for (std::size_t i = 0; i < rounds; ++i) {
    for (bool done = false; !done;) {
      const bool other_done = others[i]->test();  // both: either moves its rank on
      done = pending[i]->test() && other_done;
    }
    EXPECT_EQ(of_fast[i].values(), std::vector<float>{100 + static_cast<float>(i)});
    EXPECT_EQ(of_slow[i].values(), of_fast[i].values());
  }
}

TEST(SharedMemoryCommunicator, DifferentCallsAreAnErrorOnAllRanks) {
  run_processes(3, [](SharedMemory& memory, int rank) {
    SharedMemoryCommunicator communicator(memory, rank, kLong);
    testing::expect_error_from(
        [&] {
          if (rank == 1) {
            communicator.barrier();
          } else {
            (void)communicator.allgather({});
          }
        },
        ErrorKind::disagreement, "allgather");
  });
}

TEST(SharedMemoryCommunicator, DifferentSizesAreAnErrorOnAllRanks) {
  run_processes(2, [](SharedMemory& memory, int rank) {
    SharedMemoryCommunicator communicator(memory, rank, kLong);
    testing::EncodedNumbers numbers(std::vector<float>(static_cast<std::size_t>(rank) + 1), WireType::fp32);
    const auto pending = communicator.start_allreduce(numbers.buffer());
    testing::expect_error_from([&] { testing::finish(*pending); }, ErrorKind::disagreement,
                               "allreduce fp32 of");
  });
}

TEST(SharedMemoryCommunicator, ABlockingCallEndsInTimeWhereARankIsGone) {
  run_processes(2, [](SharedMemory& memory, int rank) {
    if (rank == 1) {
      return;
    }
    SharedMemoryCommunicator communicator(memory, rank, kShort);
    testing::expect_error_from([&] { communicator.barrier(); }, ErrorKind::mpi,
                               "no other rank came in 200 ms");
    EXPECT_FALSE(communicator.waits());
  });
}

TEST(SharedMemoryCommunicator, MoreThanThereIsRoomForIsAnError) {
  SharedMemory memory(1, 8);
  SharedMemoryCommunicator communicator(memory, 0, kLong);
  testing::EncodedNumbers numbers({1, 2, 3}, WireType::fp32);
  testing::expect_error_from([&] { (void)communicator.start_allreduce(numbers.buffer()); }, ErrorKind::usage,
                             "takes 8 at most");
}

}  // namespace
}  // namespace slicereduce
