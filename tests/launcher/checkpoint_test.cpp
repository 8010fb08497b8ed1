#include "launcher/checkpoint.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <random>

#include "comm/in_process.hpp"
#include "core/atomic_file.hpp"
#include "core/input_file.hpp"
#include "launcher/debts.hpp"
#include "launcher/training_state.hpp"
#include "sampling/memory_order.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/in_process_ranks.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/tiny_network.hpp"

namespace slicereduce {
namespace {

using testing::expect_error_from;
using testing::TemporaryFolder;

TrainOptions tiny_options(std::uint64_t seed) {
  TrainOptions options;
  options.network.arch = "resnet20";
  options.seed = seed;
  return options;
}

Checkpoint saved(TrainingState& state, Manifest manifest) {
  InProcessGroup alone(1);
  Checkpoint made = state.checkpoint(std::move(manifest), /*world_size=*/1);
  made.owed = gather_debts(state.debts(), alone.rank(0));
  return made;
}

/// A state in which everything differs from a fresh one.
std::unique_ptr<TrainingState> used_state() {
  auto state = std::make_unique<TrainingState>(tiny_options(1), 3, 10);
  testing::shake_norms(state->network);
  for (const auto& momentum : state->sgd.momentum()) {
    momentum.normal_();
  }
  state->sgd.refresh_norms();
  (void)state->planner.plan(0, 0.5, state->sgd.norms());
  state->steps_done = 40;
  state->best_top1 = 12.5;
  return state;
}

TEST(TrainingState, RestoresAllThatItSaved) {
  const TemporaryFolder folder;
  const auto state = used_state();
  const auto path = folder.path() / "a.ckpt";
  save_checkpoint(path,
                  saved(*state, {.version = "1", .seed = 1, .steps_per_epoch = 7, .options = "[train]\n"}));
  TrainingState other(tiny_options(2), 3, 10);
  const Checkpoint loaded = load_checkpoint(path);
  other.restore(loaded, path.string());
  EXPECT_EQ(loaded.manifest.options, "[train]\n");
  EXPECT_EQ(loaded.manifest.steps_per_epoch, 7);
  EXPECT_EQ(other.network.weights_digest(), state->network.weights_digest());
  EXPECT_EQ(other.sgd.norms(), state->sgd.norms());
  EXPECT_EQ(other.planner.current(), state->planner.current());
  EXPECT_EQ(other.planner.ratio(), 0.5);
  EXPECT_EQ(other.steps_done, 40);
  EXPECT_EQ(other.best_top1, 12.5);
  for (std::size_t p = 0; p < state->sgd.momentum().size(); ++p) {
    EXPECT_TRUE(at::equal(other.sgd.momentum()[p], state->sgd.momentum()[p]));
  }
  for (std::size_t i = 0; i < state->network.statistics().mean.size(); ++i) {
    EXPECT_TRUE(at::equal(other.network.statistics().mean[i], state->network.statistics().mean[i]));
    EXPECT_TRUE(at::equal(other.network.statistics().variance[i], state->network.statistics().variance[i]));
  }
}

TrainOptions feedback_options() {
  TrainOptions options = tiny_options(1);
  options.network.mode = "feedback";
  options.network.size.ratio = 0.25;
  options.network.slice_output_ratio = 0.5;
  return options;
}

/// Tells ranks apart.
at::Tensor debt_of(const ParameterShape& shape, int rank) {
  at::Generator generator = at::detail::createCPUGenerator(100 + static_cast<unsigned>(rank));
  return at::randn(shape.sizes, generator).contiguous(memory_format_of(shape.sizes));
}

/// After a few draws, with debts.
void use_feedback(TrainingState& state, int rank) {
  for (std::int64_t step = 0; step < 5; ++step) {
    (void)state.plans(step, Mode::feedback, 0.25);
  }
  for (std::size_t p = 0; p < state.network.parameters().size(); ++p) {
    if (const auto& shape = state.network.parameters()[p].shape; !shape.vector) {
      state.memory->owed()[p] = debt_of(shape, rank);
    }
  }
}

/// What a step that sends all does to them.
void pay(TrainingState& state) { std::ranges::fill(state.memory->owed(), at::Tensor()); }

TEST(TrainingState, RestoresEveryRanksDebtsAndTurns) {
  Checkpoint checkpoint;
  testing::run_ranks(2, [&](Communicator& communicator) {
    TrainingState state(feedback_options(), 3, 10);
    use_feedback(state, communicator.rank());
    Checkpoint own = state.checkpoint({.version = "1"}, communicator.world_size());
    own.owed = gather_debts(state.debts(), communicator);
    if (communicator.rank() == 0) {
      checkpoint = std::move(own);
    }
  });
  for (int rank = 0; rank < 2; ++rank) {
    TrainingState used(feedback_options(), 3, 10);
    use_feedback(used, rank);
    TrainingState restored(feedback_options(), 3, 10);
    restored.restore(checkpoint, "a.ckpt", rank, 2);
    EXPECT_EQ(restored.mode, Mode::feedback);
    EXPECT_EQ(restored.slices->planner.state(), used.slices->planner.state());
    for (std::size_t p = 0; p < used.memory->owed().size(); ++p) {
      ASSERT_EQ(restored.memory->owed()[p].defined(), used.memory->owed()[p].defined());
      EXPECT_TRUE(!used.memory->owed()[p].defined() ||
                  at::equal(restored.memory->owed()[p], used.memory->owed()[p]));
    }
  }
  // A run that goes on in mode feedback pays once when it changes to compact, as one that never stopped.
  TrainingState changing(feedback_options(), 3, 10);
  changing.restore(checkpoint, "a.ckpt", 0, 2);
  EXPECT_FALSE(changing.plans(5, Mode::feedback, 0.25).slices == nullptr);
  const StepPlans paying = changing.plans(6, Mode::compact, 0.5);
  EXPECT_TRUE(paying.pays && paying.network.full());
  pay(changing);
  EXPECT_FALSE(changing.plans(7, Mode::compact, 0.5).network.full());
  // Three ranks share what two owed, and a run in another mode pays it.
  TrainingState third(tiny_options(1), 3, 10);
  third.restore(checkpoint, "a.ckpt", 2, 3);
  const auto& stem = third.network.parameters()[0].shape;
  EXPECT_TRUE(at::allclose(third.memory->owed()[0], (debt_of(stem, 0) + debt_of(stem, 1)) / 2));
  EXPECT_NO_THROW((void)in_memory_order(third.memory->owed()[0]));
  EXPECT_TRUE(third.plans(5, Mode::compact, 0.5).network.full());  // compact has no place for all of it
  pay(third);
  EXPECT_FALSE(third.plans(6, Mode::compact, 0.5).network.full());
}

TEST(LoadCheckpoint, LeavesOutDebtsThatAreNotWanted) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.ckpt";
  Checkpoint checkpoint = saved(*used_state(), {.version = "1"});
  checkpoint.owed = {{"rank1.conv", at::ones({2})}, {"rank10.conv", at::ones({3})}};
  save_checkpoint(path, checkpoint);
  EXPECT_EQ(load_checkpoint(path).owed.size(), 2U);
  const Checkpoint own = load_checkpoint(path, [](const Manifest& manifest, std::string_view name) {
    EXPECT_EQ(manifest.version, "1");
    return is_owed_by(1, name);
  });
  ASSERT_EQ(own.owed.size(), 1U);
  EXPECT_EQ(own.owed[0].first, "rank1.conv");
  EXPECT_EQ(own.weights.size(), checkpoint.weights.size());
  EXPECT_EQ(load_manifest(path).version, "1");
}

TEST(TrainingState, RefusesDebtsOfAnotherShape) {
  Checkpoint checkpoint = saved(*used_state(), {.version = "1"});
  TrainingState state(feedback_options(), 3, 10);
  const ParameterShape& first = state.network.parameters()[0].shape;
  const std::string name = "rank0." + first.name;
  for (const at::Tensor& owed : {at::ones({1}), debt_of(first, 0).to(at::kDouble)}) {
    checkpoint.owed = {{name, owed}};
    expect_error_from([&] { state.restore(checkpoint, "a.ckpt", 0, 1); }, ErrorKind::input, name);
  }
}

TEST(TrainingState, RefusesAnotherNetworksCheckpoint) {
  const Checkpoint written = saved(*used_state(), {.version = "1"});
  TrainOptions options = tiny_options(1);
  options.network.arch = "resnet32";
  TrainingState deeper(options, 3, 10);
  expect_error_from([&] { deeper.restore(written, "a.ckpt"); }, ErrorKind::input,
                    "resnet20, but this run has resnet32");
  TrainingState more_classes(tiny_options(1), 3, 100);
  expect_error_from([&] { more_classes.restore(written, "a.ckpt"); }, ErrorKind::input, "classes 10");
}

TEST(LoadNetwork, TakesTheRecalibratedStatisticsForTheExactNetwork) {
  const TemporaryFolder folder;
  const auto state = used_state();
  state->recalibrated = NormStatistics::initial(state->network.layout());
  state->recalibrated->mean[0].fill_(3);
  save_checkpoint(folder.path() / "a.ckpt", saved(*state, {.version = "1"}));
  const auto loaded = load_network(folder.path() / "a.ckpt");
  EXPECT_TRUE(loaded->recalibrated);
  EXPECT_EQ(loaded->exact_statistics.mean[0][0].item<float>(), 3);
  EXPECT_TRUE(at::equal(loaded->network.statistics().mean[0], state->network.statistics().mean[0]));
  EXPECT_EQ(loaded->plan, state->planner.current());
}

TEST(CheckpointFolder, KeepsTheNewestAndTheBest) {
  const TemporaryFolder folder;
  const CheckpointFolder checkpoints(folder.path(), 2);
  const auto state = used_state();
  for (const std::int64_t step : {10, 20, 30, 40}) {
    state->steps_done = step;
    const auto path = checkpoints.save(saved(*state, {.version = "1"}));
    if (step == 10) {
      checkpoints.make_best(path);
    }
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "step-00000020.ckpt"));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "step-00000030.ckpt"));
  EXPECT_EQ(load_checkpoint(folder.path() / "best.ckpt").manifest.step, 10);
  EXPECT_EQ(checkpoints.newest_valid([](const std::string&) {})->filename(), "step-00000040.ckpt");
}

/// In a very long run, where a later step's name comes before an earlier one's.
TEST(CheckpointFolder, GoesByStepsAndNotByText) {
  const TemporaryFolder folder;
  const CheckpointFolder checkpoints(folder.path(), 2);
  const auto state = used_state();
  for (const std::int64_t step : {99'999'998, 99'999'999, 100'000'000}) {
    state->steps_done = step;
    (void)checkpoints.save(saved(*state, {.version = "1"}));
  }
  EXPECT_EQ(checkpoints.newest_valid([](const std::string&) {})->filename(), "step-100000000.ckpt");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "step-99999998.ckpt"));
  EXPECT_EQ(checkpoints.set_aside_beyond(99'999'999).size(), 1U);
}

/// As if it were empty, a run would begin anew over what is there.
TEST(CheckpointFolder, ThatCanNotBeListedIsAnError) {
  const TemporaryFolder folder;
  EXPECT_TRUE(CheckpointFolder(folder.path() / "not-yet", 2).empty());
  const auto no_folder = folder.path() / "file";
  std::ofstream(no_folder) << "x";
  expect_error_from([&] { (void)CheckpointFolder(no_folder, 2).empty(); }, ErrorKind::input, "cannot list");
}

/// After a way back, those of the other way neither stay the newest nor push out the new ones.
TEST(CheckpointFolder, SetsAsideWhatIsBeyondTheStepItGoesOnFrom) {
  const TemporaryFolder folder;
  const CheckpointFolder checkpoints(folder.path(), 2);
  const auto state = used_state();
  const auto save = [&](std::int64_t step) {
    state->steps_done = step;
    return checkpoints.save(saved(*state, {.version = "1"}));
  };
  checkpoints.make_best(save(30));
  (void)save(40);
  const auto aside = checkpoints.set_aside_beyond(30);
  ASSERT_EQ(aside.size(), 1U);
  EXPECT_EQ(aside[0].filename(), "step-00000040.ckpt.aside");
  EXPECT_EQ(load_checkpoint(aside[0]).manifest.step, 40);
  EXPECT_EQ(load_checkpoint(folder.path() / "best.ckpt").manifest.step, 30);
  EXPECT_TRUE(std::filesystem::exists(save(35)));
  EXPECT_EQ(checkpoints.newest_valid([](const std::string&) {})->filename(), "step-00000035.ckpt");
  EXPECT_TRUE(checkpoints.set_aside_beyond(35).empty());
}

TEST(CheckpointFolder, PassesOverADamagedFileAndSaysSo) {
  const TemporaryFolder folder;
  const CheckpointFolder checkpoints(folder.path(), 3);
  const auto state = used_state();
  for (const std::int64_t step : {10, 20}) {
    state->steps_done = step;
    (void)checkpoints.save(saved(*state, {.version = "1"}));
  }
  const auto newest = folder.path() / "step-00000020.ckpt";
  std::filesystem::resize_file(newest, std::filesystem::file_size(newest) / 2);
  std::string told;
  const auto valid = checkpoints.newest_valid([&](const std::string& problem) { told = problem; });
  EXPECT_EQ(valid->filename(), "step-00000010.ckpt");
  EXPECT_NE(told.find("step-00000020.ckpt"), std::string::npos);
}

/// Two of a small network: of step 10, and of step 20.
class TwoCheckpoints : public ::testing::Test {
 protected:
  TwoCheckpoints() {
    TrainOptions options;
    options.network.arch = "mlp-2x8";
    options.seed = 1;
    TrainingState state(options, 1, 3);
    for (const std::int64_t step : {10, 20}) {
      state.steps_done = step;
      (void)checkpoints_.save(saved(state, {.version = "1"}));
    }
    newest_ = folder_.path() / "step-00000020.ckpt";
    whole_ = read_whole(newest_);
  }

  void expect_the_older_one(std::span<const std::byte> damaged) {
    write_atomically(newest_, damaged);
    std::string told;
    const auto valid = checkpoints_.newest_valid([&](const std::string& problem) { told = problem; });
    ASSERT_TRUE(valid.has_value());
    EXPECT_EQ(valid->filename(), "step-00000010.ckpt");
    EXPECT_NE(told.find("step-00000020.ckpt"), std::string::npos) << told;
  }

  TemporaryFolder folder_;
  CheckpointFolder checkpoints_{folder_.path(), /*keep=*/3};
  std::filesystem::path newest_;
  std::vector<std::byte> whole_;
  std::mt19937 random_{7};
};

TEST_F(TwoCheckpoints, CutAnywhereTheNewestIsPassedOver) {
  for (int i = 0; i < 200; ++i) {
    expect_the_older_one(std::span(whole_).first(random_() % whole_.size()));
  }
}

TEST_F(TwoCheckpoints, WithAnyBitFlippedTheNewestIsPassedOver) {
  for (int i = 0; i < 200; ++i) {
    auto damaged = whole_;
    damaged[random_() % damaged.size()] ^= std::byte{1} << (random_() % 8);
    expect_the_older_one(damaged);
  }
}

TEST_F(TwoCheckpoints, AClockThatWasSetBackChangesNothing) {
  std::filesystem::last_write_time(
      newest_,
      std::filesystem::last_write_time(folder_.path() / "step-00000010.ckpt") - std::chrono::days(400));
  EXPECT_EQ(checkpoints_.newest_valid([](const std::string&) {}), newest_);
}

TEST(Manifest, NamesWhatItLacks) {
  expect_error_from([] { (void)Manifest::from_json("{\"format\": 2}", "a.ckpt"); }, ErrorKind::input,
                    "version");
  expect_error_from([] { (void)Manifest::from_json("{\"format\": 99}", "a.ckpt"); }, ErrorKind::input,
                    "another format than 2");
  expect_error_from([] { (void)Manifest::from_json("nonsense", "a.ckpt"); }, ErrorKind::input, "a.ckpt");
}

TEST(Manifest, RefusesWhatNoRunWrites) {
  const auto refused = [](auto change, const std::string& part) {
    Manifest manifest{.arch = "resnet20", .in_channels = 3, .num_classes = 10, .step = 5};
    EXPECT_NO_THROW((void)Manifest::from_json(manifest.to_json().dump(), "a.ckpt"));
    change(manifest);
    expect_error_from([&] { (void)Manifest::from_json(manifest.to_json().dump(), "a.ckpt"); },
                      ErrorKind::input, part);
  };
  refused([](Manifest& manifest) { manifest.step = -1; }, "step = -1");
  refused([](Manifest& manifest) { manifest.world_size = 0; }, "world_size = 0");
  refused([](Manifest& manifest) { manifest.world_size = INT32_MAX; }, "world_size");
  refused([](Manifest& manifest) { manifest.num_classes = -1; }, "num_classes");
  refused([](Manifest& manifest) { manifest.in_channels = 0; }, "in_channels");
  // As deep as a stack has no room for.
  const std::string deep = std::string(300'000, '[') + std::string(300'000, ']');
  expect_error_from([&] { (void)Manifest::from_json("{\"format\": " + deep + "}", "a.ckpt"); },
                    ErrorKind::input, "another format");
  expect_error_from([&] { (void)Manifest::from_json(std::string(2 << 20, ' '), "a.ckpt"); }, ErrorKind::input,
                    "its manifest has 2097152 bytes");
}

TEST(LoadNetwork, ComparesWeightsWithTheManifestBeforeItTakesMemory) {
  const TemporaryFolder folder;
  const auto state = used_state();
  Checkpoint lying = saved(*state, {.version = "1"});
  lying.manifest.arch = "mlp-12x30000";  // 40 GB
  lying.manifest.in_channels = 1;
  save_checkpoint(folder.path() / "a.ckpt", lying);
  expect_error_from([&] { (void)load_network(folder.path() / "a.ckpt"); }, ErrorKind::input, "has no tensor");
}

}  // namespace
}  // namespace slicereduce
