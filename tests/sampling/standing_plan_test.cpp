#include "sampling/standing_plan.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"
#include "tests/support/standing_plan_contract.hpp"

// On a card: cuda_slices_test.cpp.
namespace slicereduce {
namespace {

TEST(StandingPlan, StaysWhereItIs) { testing::expect_stands(at::kCPU); }

TEST(StandingPlan, RefusesOtherSizes) {
  testing::RandomParameters random(3);
  StandingPlan standing(random.random_plan(0), at::kCPU);
  EXPECT_FALSE(standing.fits(Plan::full(random.sites)));
  EXPECT_THROW(standing.set(Plan::full(random.sites)), Error);
}

TEST(StandingPlan, RefusesScales) {
  testing::RandomParameters random(3);
  Plan plan = random.random_plan(0);
  plan.sets[0].scale.assign(plan.sets[0].kept.size(), 2.0F);
  EXPECT_THROW(StandingPlan(plan, at::kCPU), Error);
  StandingPlan standing(random.random_plan(0), at::kCPU);
  EXPECT_THROW(standing.set(plan), Error);
}

}  // namespace
}  // namespace slicereduce
