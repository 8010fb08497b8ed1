#include "launcher/checkpoint_writer.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>

#include <fstream>

#include "comm/in_process.hpp"
#include "core/text.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/in_process_ranks.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

using testing::expect_error_from;

class Writing : public ::testing::Test {
 protected:
  static Checkpoint content(std::int64_t step, const at::Tensor& weights) {
    Checkpoint made{.weights = {{"w", weights}}};
    made.manifest.in_channels = 3;
    made.manifest.num_classes = 10;
    made.manifest.step = step;
    return made;
  }
  [[nodiscard]] CheckpointWriter writer(std::int64_t most_failures = 1) {
    return {CheckpointFolder(folder(), /*keep=*/2), most_failures, alone_.rank(0), Log::silent()};
  }
  static OwnDebts nothing() { return copy_debts({}, {}); }
  [[nodiscard]] std::filesystem::path folder() const { return temporary_.path() / "checkpoints"; }
  [[nodiscard]] std::filesystem::path file(int step) const {
    return folder() / ("step-0000000" + std::to_string(step) + ".ckpt");
  }
  void make_folder() { std::filesystem::create_directory(folder()); }

  testing::TemporaryFolder temporary_;
  InProcessGroup alone_{1};
};

TEST_F(Writing, WhatChangesAfterwardsIsNotInTheFile) {
  make_folder();
  auto writing = writer();
  const at::Tensor weights = at::rand({1000});
  const at::Tensor as_they_were = weights.clone();
  writing.take(content(1, weights), nothing());
  writing.start(/*is_best=*/true);
  weights.zero_();
  writing.finish();
  EXPECT_TRUE(at::equal(load_checkpoint(file(1)).weights.front().second, as_they_were));
  EXPECT_TRUE(at::equal(load_checkpoint(folder() / "best.ckpt").weights.front().second, as_they_were));
}

TEST_F(Writing, WhatAllRanksOweIsInTheFile) {
  make_folder();
  const std::vector<ParameterShape> parameters{{.name = "a"}, {.name = "b"}, {.name = "conv"}};
  const auto debt_of = [](int rank) {
    return at::arange(2 * 3 * 2 * 2, at::kFloat)
        .add(100 * rank)
        .view({2, 3, 2, 2})
        .contiguous(at::MemoryFormat::ChannelsLast);
  };
  testing::run_ranks(3, [&](Communicator& communicator) {
    CheckpointWriter writing(CheckpointFolder(folder(), 2), 1, communicator, Log::silent());
    const std::vector<at::Tensor> owed{at::full({4}, communicator.rank()), {}, debt_of(communicator.rank())};
    writing.take(content(1, at::rand({10})), copy_debts(owed, parameters));
    writing.start(/*is_best=*/false);
    for (const std::size_t p : {0, 2}) {
      owed[p].zero_();  // training goes on
    }
    writing.finish();
  });
  const StateDict written = load_checkpoint(file(1)).owed;
  EXPECT_EQ(written.size(), 6U);
  for (int rank = 0; rank < 3; ++rank) {
    const std::string of = concat("rank", rank, ".");
    EXPECT_TRUE(at::equal(find_tensor(written, of + "a")[0], at::full({4}, static_cast<float>(rank))));
    EXPECT_TRUE(at::equal(find_tensor(written, of + "conv")[0], debt_of(rank)));
  }
}

/// Ranks would be one gather apart from then on.
TEST_F(Writing, ARankThatCanNotGatherEndsItOnAllOfThem) {
  make_folder();
  const auto outcomes = testing::outcomes_of_ranks(2, [&](Communicator& communicator) {
    CheckpointWriter writing(CheckpointFolder(folder(), 2), /*most_failures=*/100, communicator,
                             Log::silent());
    const std::vector<ParameterShape> parameters{{.name = "a"}};
    const std::vector<at::Tensor> owed{at::ones({3 + communicator.rank()})};  // they differ
    writing.take(content(1, at::rand({10})), copy_debts(owed, parameters));
    writing.start(/*is_best=*/false);
    writing.take(content(2, at::rand({10})), nothing());
  });
  EXPECT_TRUE(outcomes[0]);
  EXPECT_TRUE(outcomes[1]);
  EXPECT_FALSE(std::filesystem::exists(file(1)));
}

TEST_F(Writing, KeepsTheNewest) {
  make_folder();
  auto writing = writer();
  for (int step = 1; step <= 4; ++step) {
    writing.take(content(step, at::rand({10})), nothing());
    writing.start(/*is_best=*/false);
  }
  writing.finish();
  EXPECT_FALSE(std::filesystem::exists(file(2)));
  EXPECT_TRUE(std::filesystem::exists(file(3)));
  EXPECT_TRUE(std::filesystem::exists(file(4)));
}

TEST_F(Writing, TheLastIsWrittenBeforeTheWriterIsGone) {
  make_folder();
  {
    auto writing = writer();
    writing.take(content(1, at::rand({1'000'000})), nothing());
    writing.start(/*is_best=*/false);
  }
  EXPECT_EQ(load_checkpoint(file(1)).manifest.step, 1);
}

TEST_F(Writing, AFailureIsAnErrorForWhoeverEndsThere) {
  auto writing = writer(/*most_failures=*/10);
  writing.take(content(1, at::rand({10})), nothing());
  writing.start(/*is_best=*/false);
  expect_error_from([&] { writing.finish(); }, ErrorKind::io, "step-00000001.ckpt");
}

TEST_F(Writing, SoManyFailuresInARowAreAnError) {
  auto writing = writer(/*most_failures=*/2);
  writing.take(content(1, at::rand({10})), nothing());
  writing.start(/*is_best=*/false);
  writing.take(content(2, at::rand({10})), nothing());
  writing.start(/*is_best=*/false);
  expect_error_from([&] { writing.take(content(3, at::rand({10})), nothing()); }, ErrorKind::io,
                    "step-00000002.ckpt");
}

TEST_F(Writing, OneThatSucceedsForgivesThoseBefore) {
  auto writing = writer(/*most_failures=*/2);
  writing.take(content(1, at::rand({10})), nothing());
  writing.start(/*is_best=*/false);
  expect_error_from([&] { writing.finish(); }, ErrorKind::io, "step-00000001.ckpt");
  make_folder();
  writing.take(content(2, at::rand({10})), nothing());
  writing.start(/*is_best=*/false);
  EXPECT_NO_THROW(writing.finish());
  std::filesystem::remove_all(folder());
  writing.take(content(3, at::rand({10})), nothing());
  writing.start(/*is_best=*/false);
  EXPECT_NO_THROW(writing.take(content(4, at::rand({10})), nothing()));
}

TEST_F(Writing, ABestThatCanNotBeLinkedIsNoFailure) {
  std::filesystem::create_directories(folder() / "best.ckpt" / "in the way");
  auto writing = writer();
  writing.take(content(1, at::rand({10})), nothing());
  writing.start(/*is_best=*/true);
  EXPECT_NO_THROW(writing.finish());
  EXPECT_EQ(load_checkpoint(file(1)).manifest.step, 1);
}

TEST_F(Writing, WhatAKilledRunLeftHalfWrittenIsRemoved) {
  make_folder();
  const std::vector<std::string> kept{"best.ckpt", "step-00000001.ckpt", "step-00000001.ckpt.aside",
                                      "notes.txt"};
  for (const std::string& name : kept) {
    std::ofstream(folder() / name) << "x";
  }
  std::ofstream(folder() / "step-00000002.ckpt.a1B2c3") << "half";
  std::filesystem::create_directory(folder() / "best.ckpt.a1B2c3");
  std::ofstream(folder() / "best.ckpt.a1B2c3" / "file") << "not renamed";
  CheckpointFolder(folder(), 2).remove_unfinished();
  EXPECT_FALSE(std::filesystem::exists(folder() / "step-00000002.ckpt.a1B2c3"));
  EXPECT_FALSE(std::filesystem::exists(folder() / "best.ckpt.a1B2c3"));
  for (const std::string& name : kept) {
    EXPECT_TRUE(std::filesystem::exists(folder() / name)) << name;
  }
}

}  // namespace
}  // namespace slicereduce
