#include "launcher/captured_step.hpp"

#include <gtest/gtest.h>

#include "tests/support/captured_step_contract.hpp"
#include "tests/support/in_process_ranks.hpp"

// On a card: cuda_training_test.cpp; several processes: tests/multi_rank/training_step_test.cpp and, over
// NCCL, nccl_test.cpp.
namespace slicereduce {
namespace {

class OneRankCaptured : public ::testing::TestWithParam<testing::CapturedClause> {};
TEST_P(OneRankCaptured, Keeps) {
  testing::run_ranks(1, [](Communicator& communicator) { GetParam().run(communicator, at::kCPU); });
}
INSTANTIATE_TEST_SUITE_P(Captured, OneRankCaptured, ::testing::ValuesIn(testing::kCapturedContract),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace slicereduce
