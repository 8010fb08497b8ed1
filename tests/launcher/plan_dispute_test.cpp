#include "launcher/plan_dispute.hpp"

#include <gtest/gtest.h>

#include "tests/support/in_process_ranks.hpp"
#include "tests/support/tiny_network.hpp"

namespace slicereduce {
namespace {

using testing::layout_of;
using testing::random_plan;
using testing::run_ranks;

TEST(DescribeDispute, NamesTheSiteAndTheRank) {
  const Layout layout = layout_of("resnet20");
  run_ranks(3, [&](Communicator& communicator) {
    Plan plan = random_plan(layout, 1);
    if (communicator.rank() == 2) {
      plan.sets[3] = random_plan(layout, 2).sets[3];
    }
    EXPECT_EQ(describe_dispute(layout.sites, plan, communicator),
              "rank 2 keeps other channels of " + layout.sites[3].name + " than rank 0");
  });
}

TEST(BroadcastPlanner, GivesEveryRankTheStateOfRankZero) {
  const Layout layout = layout_of("resnet20");
  const auto state_of = [&](int rank) {
    // Plans of another size on each rank, with scales.
    return PlannerState{.plan = random_plan(layout, static_cast<std::uint64_t>(rank), "bernoulli"),
                        .ratio = 0.5 + 0.1 * rank,
                        .waiting = {std::vector<std::uint32_t>(16, rank), {}, {7U, 8U, 9U}}};
  };
  run_ranks(3, [&](Communicator& communicator) {
    EXPECT_EQ(broadcast_planner(state_of(communicator.rank()), communicator), state_of(0));
  });
}

}  // namespace
}  // namespace slicereduce
