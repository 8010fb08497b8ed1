#include "comm/reducer.hpp"

#include <gtest/gtest.h>

#include "comm/mpi_communicator.hpp"
#include "tests/support/reducer_contract.hpp"

namespace slicereduce {
namespace {

class MpiReducer : public ::testing::TestWithParam<testing::ReducerClause> {};

TEST_P(MpiReducer, Holds) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  GetParam().run(communicator);
  communicator.close();
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiReducer, ::testing::ValuesIn(testing::kReducerContract),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace slicereduce
