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

TEST(BroadcastPlan, GivesEveryRankThePlanOfRankZero) {
  const Layout layout = layout_of("resnet20");
  const Plan expected = random_plan(layout, 0, "bernoulli");  // of another size on each rank, with scales
  run_ranks(3, [&](Communicator& communicator) {
    const Plan own = random_plan(layout, static_cast<std::uint64_t>(communicator.rank()), "bernoulli");
    EXPECT_EQ(broadcast_plan(own, communicator), expected);
  });
}

}  // namespace
}  // namespace slicereduce
