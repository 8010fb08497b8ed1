#include "sampling/planner.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace slicereduce {
namespace {

const std::vector<Site> kSites{{.name = "a", .channels = 64}};
const std::vector<std::vector<float>> kNorms{std::vector<float>(64, 1.0F)};

SamplingConfig uniform(std::int64_t resample_every) {
  return {.sampler = "uniform", .size = {}, .resample_every = resample_every};
}

TEST(Planner, KeepsAPlanForAsLongAsItIsTold) {
  Planner planner(kSites, uniform(3), 1);
  const Plan first = planner.plan(0, 0.5, kNorms);
  EXPECT_EQ(planner.plan(1, 0.5, kNorms), first);
  EXPECT_EQ(planner.plan(2, 0.5, kNorms), first);
  EXPECT_NE(planner.plan(3, 0.5, kNorms), first);
}

TEST(Planner, ChangesThePlanWithTheRatio) {
  Planner planner(kSites, uniform(100), 1);
  EXPECT_EQ(planner.plan(0, 0.5, kNorms).sets[0].size(), 32);
  EXPECT_EQ(planner.plan(1, 0.25, kNorms).sets[0].size(), 16);
  EXPECT_TRUE(planner.plan(2, 1.0, kNorms).full());
}

TEST(Planner, GoesOnWithAnAdoptedPlanAsIfItHadDrawnIt) {
  Planner planner(kSites, uniform(4), 1);
  const Plan drawn = planner.plan(4, 0.5, kNorms);
  Planner resumed(kSites, uniform(4), 1);
  resumed.adopt(drawn, 0.5);
  EXPECT_EQ(resumed.plan(5, 0.5, kNorms), planner.plan(5, 0.5, kNorms));
  EXPECT_EQ(resumed.plan(8, 0.5, kNorms), planner.plan(8, 0.5, kNorms));
}

TEST(SamplingConfig, RefusesNoSteps) { EXPECT_THROW(uniform(0).validate(), Error); }

}  // namespace
}  // namespace slicereduce
