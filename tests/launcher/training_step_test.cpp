#include "launcher/training_step.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/in_process_ranks.hpp"
#include "tests/support/training_contract.hpp"

namespace slicereduce {
namespace {

using testing::run_ranks;

TEST(TrainingStep, SlicesReduceToWhatDenseReductionGives) {
  run_ranks(1, testing::expect_slices_equal_dense);
}

TEST(TrainingStep, CoupledTrainsLikeUncoupledOnTheSameSets) {
  run_ranks(1, testing::expect_coupled_trains_like_uncoupled);
}

TEST(TrainingStep, WireBytesAreThePlansToTheByte) { run_ranks(1, testing::expect_wire_bytes_of_the_plan); }

TEST(TrainingStep, WishToStopComesBack) { run_ranks(1, testing::expect_wish_to_stop_reaches_all); }

TEST(TrainingStep, OverlapChangesNoBit) { run_ranks(1, testing::expect_overlap_changes_nothing); }

}  // namespace
}  // namespace slicereduce
