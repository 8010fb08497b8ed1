#include "comm/communicator.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "comm/allreduce_thread.hpp"
#include "comm/mpi_communicator.hpp"
#include "tests/support/communicator_contract.hpp"
#include "tests/support/expect_error.hpp"

namespace slicereduce {
namespace {

class MpiContract : public ::testing::TestWithParam<testing::ContractClause> {};

TEST_P(MpiContract, Holds) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  GetParam().run(communicator);
  communicator.close();
}

/// What is too long for MPI's int is sent in pieces; here nearly everything is too long.
TEST_P(MpiContract, HoldsInPieces) {
  constexpr int kFewElements = 997;
  MpiCommunicator communicator(MPI_COMM_WORLD, std::nullopt, kFewElements);
  GetParam().run(communicator);
  communicator.close();
}

int world_rank() {
  int rank = -1;
  EXPECT_EQ(MPI_Comm_rank(MPI_COMM_WORLD, &rank), MPI_SUCCESS);
  return rank;
}

/// With three ranks one node has a single one.
int two_a_node() { return world_rank() / 2; }

/// Neighbours on one node, ranks dealt to two nodes in turn, a node of one and the rest, a single node.
std::vector<int> nodes_of_this_rank() {
  const int rank = world_rank();
  return {two_a_node(), rank % 2, rank == 0 ? 0 : 1, 0};
}

TEST_P(MpiContract, HoldsInTwoLevels) {
  for (const int node : nodes_of_this_rank()) {
    MpiCommunicator communicator(MPI_COMM_WORLD, node);
    GetParam().run(communicator);
    communicator.close();
  }
}

TEST_P(MpiContract, HoldsInTwoLevelsInPieces) {
  constexpr int kFewElements = 997;
  MpiCommunicator communicator(MPI_COMM_WORLD, two_a_node(), kFewElements);
  GetParam().run(communicator);
  communicator.close();
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiContract, ::testing::ValuesIn(testing::kCommunicatorContract),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(MpiCommunicator, KnowsItsPlace) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  int rank = -1;
  int size = -1;
  ASSERT_EQ(MPI_Comm_rank(MPI_COMM_WORLD, &rank), MPI_SUCCESS);
  ASSERT_EQ(MPI_Comm_size(MPI_COMM_WORLD, &size), MPI_SUCCESS);
  EXPECT_EQ(communicator.rank(), rank);
  EXPECT_EQ(communicator.world_size(), size);
  communicator.close();
}

TEST(NodeToReduceOn, IsNoneOnASingleMachine) { EXPECT_FALSE(node_to_reduce_on(MPI_COMM_WORLD).has_value()); }

TEST(MpiCommunicator, AFailingCallIsAnErrorWithMpisText) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  std::vector<std::byte> bytes(4);
  testing::expect_error_from([&] { communicator.broadcast(bytes, communicator.world_size()); },
                             ErrorKind::mpi, "MPI_ERR_ROOT");
  communicator.close();
}

/// Where rank 0 comes late, the others give up in time. Nothing is closed: they are out of step then.
TEST(MpiCommunicator, ABlockingCallEndsInTime) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  EXPECT_FALSE(communicator.waits());
  if (communicator.rank() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(600));
    communicator.barrier();
  } else {
    communicator.set_timeout(std::chrono::milliseconds(100));
    testing::expect_error_from([&] { communicator.barrier(); }, ErrorKind::mpi,
                               "MPI_Ibarrier is not done after 0.1 s");
  }
  EXPECT_FALSE(communicator.waits());
}

TEST(MpiCommunicator, GivingUpAsksWhoeverWantsToKnowFirst) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  std::string told;
  communicator.on_give_up([&](const std::string& why) { told = why; });
  testing::expect_error_from([&] { communicator.give_up("too long"); }, ErrorKind::mpi, "too long");
  EXPECT_EQ(told, "too long");
  communicator.close();
}

TEST(MpiCommunicator, CheckPassesSuccessAndNamesTheCall) {
  EXPECT_NO_THROW(check_mpi(MPI_SUCCESS, "MPI_Send"));
  testing::expect_error_from([] { check_mpi(MPI_ERR_TRUNCATE, "MPI_Send"); }, ErrorKind::mpi,
                             "MPI_Send failed with code");
}

TEST(MpiCommunicator, TheUsersChoiceOfAlgorithmIsKept) {
  constexpr const char* kVariable = "OMPI_MCA_coll_libnbc_iallreduce_algorithm";
  ASSERT_EQ(setenv(kVariable, "2", 1), 0);
  prefer_measured_algorithms();
  EXPECT_STREQ(getenv(kVariable), "2");
  ASSERT_EQ(unsetenv(kVariable), 0);
  prefer_measured_algorithms();
  EXPECT_STREQ(getenv(kVariable), "1");
}

/// The thread's collectives and the main thread's blocking ones, at once, over many rounds.
void reduce_on_a_thread_beside_blocking_calls(MpiCommunicator& communicator) {
  {
    AllreduceThread thread(communicator, std::chrono::seconds(50));
    for (std::uint64_t step = 0; step < 20; ++step) {
      testing::EncodedNumbers small(testing::integers(33, communicator.rank()), WireType::bf16);
      testing::EncodedNumbers large(testing::integers(100'001, communicator.rank()), WireType::fp32);
      thread.submit_agreement(step);
      thread.submit(small.buffer());
      thread.submit(large.buffer());
      testing::allreduce_sum_sums_doubles(communicator);
      EXPECT_TRUE(thread.wait_all().agreed);
      EXPECT_EQ(small.values(), testing::summed_integers(33, communicator.world_size()));
      EXPECT_EQ(large.values(), testing::summed_integers(100'001, communicator.world_size()));
    }
  }
  communicator.close();
}

TEST(MpiCommunicator, ReducesOnAThreadBesideBlockingCalls) {
  MpiCommunicator flat(MPI_COMM_WORLD);
  reduce_on_a_thread_beside_blocking_calls(flat);
  MpiCommunicator in_two_levels(MPI_COMM_WORLD, two_a_node());
  reduce_on_a_thread_beside_blocking_calls(in_two_levels);
}

/// Even ranks start two and wait for the second; odd ones start the second when they have the first. Whoever
/// is on a node with another has to help what it does not wait for.
TEST(MpiCommunicator, TwoLevelsMoveWhatNobodyWaitsForHere) {
  for (const int node : nodes_of_this_rank()) {
    MpiCommunicator communicator(MPI_COMM_WORLD, node);
    testing::EncodedNumbers first(testing::integers(70'001, communicator.rank()), WireType::fp32);
    testing::EncodedNumbers second(testing::integers(501, communicator.rank()), WireType::fp32);
    auto pending = communicator.start_allreduce(first.buffer());
    if (communicator.rank() % 2 == 1) {
      testing::finish(*pending);
    }
    auto later = communicator.start_allreduce(second.buffer());
    testing::finish(*later);
    testing::finish(*pending);
    EXPECT_EQ(first.values(), testing::summed_integers(70'001, communicator.world_size()));
    EXPECT_EQ(second.values(), testing::summed_integers(501, communicator.world_size()));
    pending.reset();
    later.reset();
    communicator.close();
  }
}

TEST(MpiCommunicator, ReducesAsOneRingAgainWhenToldSo) {
  MpiCommunicator communicator(MPI_COMM_WORLD, two_a_node());
  EXPECT_TRUE(communicator.has_levels());
  for (const bool in_levels : {false, true, false}) {
    communicator.reduce_in_levels(in_levels);
    testing::EncodedNumbers numbers(testing::integers(1001, communicator.rank()), WireType::bf16);
    testing::finish(*communicator.start_allreduce(numbers.buffer()));
    EXPECT_EQ(numbers.values(), testing::summed_integers(1001, communicator.world_size()));
  }
  communicator.close();
}

/// Ranks that wait for them in different orders, the last one first.
TEST(MpiCommunicator, TwoLevelsDoNotWaitForOneAnotherForEver) {
  MpiCommunicator communicator(MPI_COMM_WORLD, two_a_node());
  std::vector<testing::EncodedNumbers> numbers;
  std::vector<std::unique_ptr<Pending>> pending;
  constexpr int kMany = 12;
  for (int i = 0; i < kMany; ++i) {
    numbers.emplace_back(testing::integers(1 + 5000 * (i % 3), communicator.rank()), WireType::fp32);
  }
  for (auto& each : numbers) {
    pending.push_back(communicator.start_allreduce(each.buffer()));
  }
  for (int i = 0; i < kMany; ++i) {
    testing::finish(*pending[communicator.rank() % 2 == 0 ? kMany - 1 - i : i]);
  }
  for (int i = 0; i < kMany; ++i) {
    EXPECT_EQ(numbers[i].values(), testing::summed_integers(1 + 5000 * (i % 3), communicator.world_size()));
  }
  pending.clear();
  communicator.close();
}

}  // namespace
}  // namespace slicereduce
