#include "sampling/plan.hpp"

#include <gtest/gtest.h>

namespace slicereduce {
namespace {

const std::vector<Site> kSites{{.name = "a", .channels = 32}, {.name = "b", .channels = 64}};
const std::vector<std::vector<float>> kNorms{std::vector<float>(32, 1.0F), std::vector<float>(64, 2.0F)};

Plan draw(std::uint64_t seed, std::uint64_t step) {
  return draw_plan(kSites, kNorms, *make_sampler("uniform"), {}, seed, step);
}

TEST(Plan, IsAFunctionOfSeedAndStep) {
  EXPECT_EQ(draw(1, 2), draw(1, 2));
  EXPECT_NE(draw(1, 2), draw(1, 3));
  EXPECT_NE(draw(1, 2), draw(2, 2));
}

TEST(Plan, SitesDrawIndependently) {
  const std::vector<Site> twins{{.name = "a", .channels = 64}, {.name = "b", .channels = 64}};
  const std::vector<std::vector<float>> norms(2, std::vector<float>(64, 1.0F));
  const Plan plan = draw_plan(twins, norms, *make_sampler("uniform"), {}, 1, 0);
  EXPECT_NE(plan.sets[0], plan.sets[1]);
}

TEST(Plan, DigestTellsPlansApart) {
  const Plan plan = draw(1, 2);
  EXPECT_EQ(plan.digest(), draw(1, 2).digest());
  Plan other = plan;
  other.sets[1].kept.back() = other.sets[1].kept.back() == 63 ? 62 : 63;
  EXPECT_NE(other.digest(), plan.digest());
  other = plan;
  other.sets[0].scale.assign(other.sets[0].kept.size(), 1.0F);
  EXPECT_NE(other.digest(), plan.digest());
}

TEST(Plan, FullKeepsEverything) {
  EXPECT_TRUE(Plan::full(kSites).full());
  EXPECT_FALSE(draw(1, 2).full());
}

}  // namespace
}  // namespace slicereduce
