#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include "core/device.hpp"
#include "launcher/training_state.hpp"
#include "tests/support/captured_step_contract.hpp"
#include "tests/support/in_process_ranks.hpp"
#include "tests/support/training_contract.hpp"

// What only a card can show. The same operations run on the CPU in tests/sampling/indexed_test.cpp.
namespace slicereduce {
namespace {

using testing::relative_distance;
using testing::run_ranks;
using testing::Training;

at::Device card() { return {at::kCUDA, 0}; }

class OnCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) {
      GTEST_SKIP() << "there is no CUDA device";
    }
    make_current(card());
    // TF32 keeps 10 bits of a factor: too few to compare with the CPU.
    at::globalContext().setAllowTF32CuDNN(false);
  }
};

TEST_F(OnCuda, AStepIsTheCpusToRounding) {
  run_ranks(1, [](Communicator& communicator) {
    for (const char* sampler : {"topk", "proportional"}) {
      Training there({.sampler = sampler, .device = card()}, communicator);
      Training here({.sampler = sampler}, communicator);
      ASSERT_EQ(there.network.weights_digest(), here.network.weights_digest());
      for (std::uint64_t step = 0; step < 5; ++step) {
        const Plan plan = here.planner.plan(step, 0.5, here.sgd.norms());
        const StepResult a = there.train_one(plan);
        const StepResult b = here.train_one(plan);
        EXPECT_NEAR(a.loss, b.loss, 1e-4 * b.loss);
        EXPECT_EQ(a.wire_bytes, b.wire_bytes);
        EXPECT_LT(relative_distance(there.network, here.network), 1e-4) << sampler << " step " << step;
        there.take_state_of(here);
      }
    }
  });
}

/// Memory, slices and factors, a step at a time from the CPU's weights; debts grow apart by rounding alone.
TEST_F(OnCuda, FeedbackIsTheCpusToRounding) {
  run_ranks(1, [](Communicator& communicator) {
    for (const std::int64_t rank : {0, 2}) {
      const testing::Variant variant{
          .mode = Mode::feedback, .ratio = 0.25, .output_ratio = 0.5, .powersgd_rank = rank};
      testing::Variant on_card = variant;
      on_card.device = card();
      Training there(on_card, communicator);
      Training here(variant, communicator);
      for (int step = 0; step < 5; ++step) {
        const StepResult a = there.train_one();
        const StepResult b = here.train_one();
        EXPECT_NEAR(a.loss, b.loss, 1e-3 * b.loss);
        EXPECT_EQ(a.wire_bytes, b.wire_bytes);
        EXPECT_LT(relative_distance(there.network, here.network), 1e-3)
            << "rank " << rank << " step " << step;
        there.take_state_of(here);
      }
    }
  });
}

TEST_F(OnCuda, ReplicasStayEqual) {
  run_ranks(2, [](Communicator& communicator) {
    make_current(card());  // of this thread
    for (const auto precision : {Precision::fp32, Precision::bf16}) {
      Training training({.wire = WireType::bf16, .precision = precision, .device = card()}, communicator);
      for (int step = 0; step < 4; ++step) {
        (void)training.train_one();
        training.expect_replicas_equal();
      }
    }
  });
}

TEST_F(OnCuda, TheSameSeedGivesTheSameBits) {
  run_ranks(1, [](Communicator& communicator) {
    Training once({.device = card()}, communicator);
    Training again({.device = card()}, communicator);
    for (int step = 0; step < 5; ++step) {
      (void)once.train_one();
      (void)again.train_one();
    }
    EXPECT_EQ(once.network.weights_digest(), again.network.weights_digest());
  });
}

/// Each of several replays among them.
TEST_F(OnCuda, ACapturedStepKeepsItsContract) {
  for (const auto& clause : testing::kCapturedContract) {
    SCOPED_TRACE(clause.name);
    run_ranks(1, [&](Communicator& communicator) {
      make_current(card());  // of this thread
      clause.run(communicator, card());
    });
  }
}

TEST_F(OnCuda, ACheckpointGoesOnAnotherDevice) {
  TrainOptions options;
  options.seed = 7;
  options.network.arch = "resnet20";
  TrainingState there(options, 3, 10, card());
  TrainingState here(options, 3, 10);
  here.network.parameters()[0].value.zero_();
  here.restore(there.checkpoint({}, /*world_size=*/1), "the card's checkpoint");
  EXPECT_EQ(here.network.weights_digest(), there.network.weights_digest());
}

}  // namespace
}  // namespace slicereduce
