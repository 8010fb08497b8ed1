#include <gtest/gtest.h>
#include <mpi.h>

#include "comm/mpi_communicator.hpp"
#include "tests/support/captured_step_contract.hpp"
#include "tests/support/training_contract.hpp"

namespace slicereduce {
namespace {

using Promise = void (*)(Communicator&);

void on_all_ranks(Promise promise) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  promise(communicator);
  communicator.barrier();
  communicator.close();
}

TEST(TrainingStepRanks, SlicesReduceToWhatDenseReductionGives) {
  on_all_ranks(testing::expect_slices_equal_dense);
}
TEST(TrainingStepRanks, CoupledTrainsLikeUncoupled) {
  on_all_ranks(testing::expect_coupled_trains_like_uncoupled);
}
TEST(TrainingStepRanks, WireBytesAreThePlansToTheByte) {
  on_all_ranks(testing::expect_wire_bytes_of_the_plan);
}
TEST(TrainingStepRanks, FeedbackAtRatioOneIsDense) {
  on_all_ranks(testing::expect_feedback_at_ratio_one_is_dense);
}
TEST(TrainingStepRanks, NothingOfAGradientIsLost) {
  on_all_ranks(testing::expect_nothing_of_a_gradient_is_lost);
}
TEST(TrainingStepRanks, AChangeOfModePays) { on_all_ranks(testing::expect_a_change_of_mode_to_pay); }
TEST(TrainingStepRanks, WhatIsPaidIsAllThatWasOwed) {
  on_all_ranks(testing::expect_what_is_paid_to_be_all_that_was_owed);
}
TEST(TrainingStepRanks, FactorsOfFullRankAreDense) { on_all_ranks(testing::expect_full_rank_to_be_dense); }
TEST(TrainingStepRanks, TheSameSeedGivesTheSameBits) { on_all_ranks(testing::expect_the_same_bits_again); }
TEST(TrainingStepRanks, ApproximationByWeightsIsTheCompactNetwork) {
  on_all_ranks(testing::expect_approximation_by_weights_to_be_the_compact_network);
}
TEST(TrainingStepRanks, ApproximationsAreWhereTheyShould) {
  on_all_ranks(testing::expect_approximations_to_be_where_they_should);
}
TEST(TrainingStepRanks, JoiningFromZeroKeepsTheFunction) {
  on_all_ranks(testing::expect_joining_from_zero_to_keep_the_function);
}
TEST(TrainingStepRanks, WireBytesAreTheSlicesToTheByte) {
  on_all_ranks(testing::expect_wire_bytes_of_the_slices);
}
TEST(TrainingStepRanks, ADisputeAboutSlicesLosesNothing) {
  on_all_ranks(testing::expect_a_dispute_about_slices_to_lose_nothing);
}
TEST(TrainingStepRanks, WeightsChangeSlotBySlot) {
  on_all_ranks(testing::expect_weights_to_change_slot_by_slot);
}
TEST(TrainingStepRanks, OverlapChangesNoBit) { on_all_ranks(testing::expect_overlap_changes_nothing); }
TEST(TrainingStepRanks, ReplicasStayBitEqualWithEverySampler) {
  on_all_ranks(testing::expect_replicas_stay_equal);
}
TEST(TrainingStepRanks, WishToStopReachesAll) { on_all_ranks(testing::expect_wish_to_stop_reaches_all); }
TEST(TrainingStepRanks, ALossThatIsNotFiniteChangesNoWeightOnAnyRank) {
  on_all_ranks(testing::expect_nonfinite_loss_changes_no_weight);
}
TEST(TrainingStepRanks, AnOverflowOnTheWireChangesNoWeightWhereItIsLookedFor) {
  on_all_ranks(testing::expect_overflow_on_the_wire_is_seen_where_it_is_looked_for);
}
TEST(TrainingStepRanks, DifferentPlansAreFound) { on_all_ranks(testing::expect_disagreement_is_found); }

class CapturedRanks : public ::testing::TestWithParam<testing::CapturedClause> {};
TEST_P(CapturedRanks, Keep) {
  MpiCommunicator communicator(MPI_COMM_WORLD);
  GetParam().run(communicator, at::kCPU);
  communicator.barrier();
  communicator.close();
}
INSTANTIATE_TEST_SUITE_P(Captured, CapturedRanks, ::testing::ValuesIn(testing::kCapturedContract),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace slicereduce
