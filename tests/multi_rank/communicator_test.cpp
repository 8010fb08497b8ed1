#include "comm/communicator.hpp"

#include <gtest/gtest.h>

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
  MpiCommunicator communicator(MPI_COMM_WORLD, kFewElements);
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

TEST(MpiCommunicator, AFailingCallIsAnErrorWithMpisText) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  std::vector<std::byte> bytes(4);
  testing::expect_error_from([&] { communicator.broadcast(bytes, communicator.world_size()); },
                             ErrorKind::mpi, "MPI_ERR_ROOT");
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
  prefer_ring_allreduce();
  EXPECT_STREQ(getenv(kVariable), "2");
  ASSERT_EQ(unsetenv(kVariable), 0);
  prefer_ring_allreduce();
  EXPECT_STREQ(getenv(kVariable), "1");
}

/// The thread's collectives and the main thread's blocking ones, at once, over many rounds.
TEST(MpiCommunicator, ReducesOnAThreadBesideBlockingCalls) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
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

}  // namespace
}  // namespace slicereduce
