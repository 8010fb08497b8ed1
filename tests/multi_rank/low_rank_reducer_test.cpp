#include "comm/low_rank_reducer.hpp"

#include <gtest/gtest.h>

#include "comm/mpi_communicator.hpp"
#include "tests/support/low_rank_contract.hpp"

namespace slicereduce {
namespace {

class MpiLowRank : public ::testing::TestWithParam<testing::LowRankClause> {};

TEST_P(MpiLowRank, Holds) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  GetParam().run(communicator);
  communicator.close();
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiLowRank, ::testing::ValuesIn(testing::kLowRankContract),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace slicereduce
