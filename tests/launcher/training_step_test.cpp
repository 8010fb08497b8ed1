#include "launcher/training_step.hpp"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "comm/in_process.hpp"
#include "tests/support/expect_error.hpp"
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

TEST(TrainingStep, FeedbackAtRatioOneIsDense) {
  run_ranks(1, testing::expect_feedback_at_ratio_one_is_dense);
}

TEST(TrainingStep, NothingOfAGradientIsLost) { run_ranks(1, testing::expect_nothing_of_a_gradient_is_lost); }

TEST(TrainingStep, AChangeOfModePays) { run_ranks(1, testing::expect_a_change_of_mode_to_pay); }
TEST(TrainingStep, WhatIsPaidIsAllThatWasOwed) {
  run_ranks(1, testing::expect_what_is_paid_to_be_all_that_was_owed);
}
TEST(TrainingStep, FactorsOfFullRankAreDense) { run_ranks(1, testing::expect_full_rank_to_be_dense); }
TEST(TrainingStep, TheSameSeedGivesTheSameBits) { run_ranks(1, testing::expect_the_same_bits_again); }

TEST(TrainingStep, ApproximationByWeightsIsTheCompactNetwork) {
  run_ranks(1, testing::expect_approximation_by_weights_to_be_the_compact_network);
}
TEST(TrainingStep, ApproximationsAreWhereTheyShould) {
  run_ranks(1, testing::expect_approximations_to_be_where_they_should);
}
TEST(TrainingStep, MicrobatchesDrawTheirOwn) { run_ranks(1, testing::expect_microbatches_to_draw_their_own); }
TEST(TrainingStep, JoiningFromZeroKeepsTheFunction) {
  run_ranks(1, [](Communicator& communicator) {
    testing::expect_joining_from_zero_to_keep_the_function(communicator);
  });
}
TEST(TrainingStep, WireBytesAreTheSlicesToTheByte) { run_ranks(1, testing::expect_wire_bytes_of_the_slices); }

TEST(TrainingStep, ADisputeAboutSlicesLosesNothing) {
  run_ranks(2, [](Communicator& communicator) {
    testing::expect_a_dispute_about_slices_to_lose_nothing(communicator);
  });
}

TEST(TrainingStep, AccumulationIsALargerWorld) {
  run_ranks(2, testing::expect_accumulation_to_be_a_larger_world);
}

/// What is kept of each tap's group of columns, as low-rank factors need to know it.
TEST(TrainingStep, SlotsAreMatricesAsGradientsLieInMemory) {
  InProcessGroup alone(1);
  testing::Training training({.mode = Mode::feedback, .ratio = 0.25, .output_ratio = 0.5}, alone.rank(0));
  (void)training.train_one();
  const auto& cut = training.state.slices->parameters;
  const Plan& plan = training.state.slices->planner.current();
  int convolutions_cut = 0;
  for (std::size_t p = 0; p < cut.size(); ++p) {
    const auto& shape = cut[p].shape;
    const SlotShape& slot = training.recorder.slots()[cut.size() - 1 - p];
    EXPECT_EQ(slot.numel(), shape.compact_numel(plan)) << shape.name;
    EXPECT_EQ(slot.whole_columns, shape.numel() / shape.rows()) << shape.name;
    EXPECT_EQ(slot.kept.empty(), !shape.column_site.has_value()) << shape.name;
    if (!slot.kept.empty()) {
      EXPECT_TRUE(std::ranges::equal(slot.kept, plan.sets[*shape.column_site].kept)) << shape.name;
      EXPECT_EQ(slot.groups, shape.taps()) << shape.name;
      EXPECT_EQ(slot.rows, plan.sets[*shape.row_site].size()) << shape.name;
      convolutions_cut += shape.taps() > 1 ? 1 : 0;
    }
  }
  EXPECT_GT(convolutions_cut, 10);
}

TEST(TrainingStep, WhatDoesNotFitIntoADevicesMemorySaysHowManyImagesItWas) {
  run_ranks(1, [](Communicator& communicator) {
    testing::Training training({}, communicator);
    training.recorder.before_adding(
        [] { TORCH_CHECK_WITH(OutOfMemoryError, false, "tried to allocate 2 GiB"); });
    testing::expect_error_from(
        [&] { (void)training.train_one(); }, ErrorKind::usage,
        "4 images at once does not fit into the memory of cpu: take a smaller --batch-size");
  });
}

TEST(TrainingStep, WeightsChangeSlotBySlot) { run_ranks(1, testing::expect_weights_to_change_slot_by_slot); }

TEST(TrainingStep, OverlapChangesNoBit) { run_ranks(1, testing::expect_overlap_changes_nothing); }

}  // namespace
}  // namespace slicereduce
