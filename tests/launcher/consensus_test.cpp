#include "launcher/consensus.hpp"

#include <gtest/gtest.h>

#include "tests/support/expect_error.hpp"
#include "tests/support/in_process_ranks.hpp"

namespace slicereduce {
namespace {

using testing::expect_error;
using testing::outcomes_of_ranks;
using testing::run_ranks;

TEST(Together, RunsOnEveryRank) {
  run_ranks(3, [](Communicator& communicator) {
    bool ran = false;
    together(communicator, [&] { ran = true; });
    EXPECT_TRUE(ran);
  });
}

TEST(Together, OneRanksErrorBecomesEveryRanks) {
  const auto outcomes = outcomes_of_ranks(3, [](Communicator& communicator) {
    together(communicator, [&] {
      if (communicator.rank() == 2) {
        throw Error(ErrorKind::input, "cannot read /data\nsecond line");
      }
    });
  });
  for (const auto& outcome : outcomes) {
    expect_error(outcome, ErrorKind::input, "rank 2: cannot read /data\nsecond line");
  }
}

TEST(Together, AnErrorOfAllIsToldOnceWithoutARank) {
  const auto outcomes = outcomes_of_ranks(2, [](Communicator& communicator) {
    together(communicator, [] { throw Error(ErrorKind::usage, "bad ratio"); });
  });
  try {
    std::rethrow_exception(outcomes[1]);
  } catch (const SharedError& error) {
    EXPECT_STREQ(error.what(), "bad ratio");
  }
}

TEST(RequireAgreement, PassesWhereAllHoldTheSame) {
  run_ranks(4, [](Communicator& communicator) {
    require_agreement(communicator, {{"--lr", "0.1"}, {"--arch", "resnet18"}});
  });
}

TEST(RequireAgreement, NamesTheKeyTheValuesAndTheRanks) {
  const auto outcomes = outcomes_of_ranks(3, [](Communicator& communicator) {
    Facts facts{{"--lr", communicator.rank() == 1 ? "0.2" : "0.1"}, {"--arch", "resnet18"}};
    if (communicator.rank() == 2) {
      facts.emplace("--seed", "7");
    }
    require_agreement(communicator, facts);
  });
  for (const auto& outcome : outcomes) {
    expect_error(outcome, ErrorKind::disagreement, "--lr: '0.1' on ranks 0, 2; '0.2' on rank 1");
    expect_error(outcome, ErrorKind::disagreement, "--seed: '(nothing)' on ranks 0, 1; '7' on rank 2");
    try {
      std::rethrow_exception(outcome);
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find("--arch"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace slicereduce
