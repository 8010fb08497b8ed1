#include "sampling/planner.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "core/error.hpp"

namespace slicereduce {
namespace {

const std::vector<Site> kOnlySite{{.name = "a", .channels = 64}};
const std::vector<std::vector<float>> kItsNorms{std::vector<float>(64, 1.0F)};

SamplingConfig uniform(std::int64_t resample_every) {
  return {.sampler = "uniform", .size = {}, .resample_every = resample_every};
}

TEST(Planner, KeepsAPlanForAsLongAsItIsTold) {
  Planner planner(kOnlySite, uniform(3), 1);
  const Plan first = planner.plan(0, 0.5, kItsNorms);
  EXPECT_EQ(planner.plan(1, 0.5, kItsNorms), first);
  EXPECT_EQ(planner.plan(2, 0.5, kItsNorms), first);
  EXPECT_NE(planner.plan(3, 0.5, kItsNorms), first);
}

TEST(Planner, ChangesThePlanWithTheRatio) {
  Planner planner(kOnlySite, uniform(100), 1);
  EXPECT_EQ(planner.plan(0, 0.5, kItsNorms).sets[0].size(), 32);
  EXPECT_EQ(planner.plan(1, 0.25, kItsNorms).sets[0].size(), 16);
  EXPECT_TRUE(planner.plan(2, 1.0, kItsNorms).full());
}

TEST(Planner, TakesALargestChoiceWhereItWouldDrawIt) {
  std::vector<std::vector<float>> norms{std::vector<float>(64)};
  std::iota(norms[0].begin(), norms[0].end(), 1.0F);
  const SamplingConfig topk{.sampler = "topk", .size = {}, .resample_every = 2};
  Planner drawing(kOnlySite, topk, 1);
  const Plan largest = drawing.plan(0, 0.5, norms);
  Planner planner(kOnlySite, topk, 1);
  EXPECT_TRUE(planner.takes(0, 0.5, largest));
  EXPECT_FALSE(planner.takes(0, 0.25, largest));  // of another size
  EXPECT_FALSE(planner.takes(0, 1.0, largest));
  EXPECT_FALSE(Planner(kOnlySite, uniform(2), 1).takes(0, 0.5, largest));
  EXPECT_EQ(planner.plan(0, 0.5, largest), largest);
  EXPECT_EQ(planner.state(), drawing.state());
  EXPECT_FALSE(planner.takes(1, 0.5, largest));  // not due
  EXPECT_THROW((void)planner.plan(1, 0.5, largest), Error);
}

TEST(Planner, NeedsNormsWhereItReadsThem) {
  Planner planner(kOnlySite, {.sampler = "topk"}, 1);
  const std::vector<std::vector<float>> none;
  EXPECT_FALSE(planner.reads_norms(0, 1.0));
  EXPECT_TRUE(planner.plan(0, 1.0, none).full());
  EXPECT_TRUE(planner.reads_norms(1, 0.5));
  EXPECT_THROW((void)planner.plan(1, 0.5, none), Error);
}

TEST(Planner, GoesOnWithAnAdoptedPlanAsIfItHadDrawnIt) {
  Planner planner(kOnlySite, uniform(4), 1);
  const Plan drawn = planner.plan(4, 0.5, kItsNorms);
  Planner resumed(kOnlySite, uniform(4), 1);
  resumed.adopt(planner.state());
  EXPECT_EQ(resumed.current(), drawn);
  EXPECT_EQ(resumed.plan(5, 0.5, kItsNorms), planner.plan(5, 0.5, kItsNorms));
  EXPECT_EQ(resumed.plan(8, 0.5, kItsNorms), planner.plan(8, 0.5, kItsNorms));
}

TEST(Planner, GoesOnWithTheWaitsOfAnAdoptedState) {
  for (const std::string sampler : {"aged", "cyclic"}) {
    const SamplingConfig config{.sampler = sampler, .size = {.ratio = 0.25}};
    Planner planner(kOnlySite, config, 1);
    for (std::uint64_t step = 0; step < 7; ++step) {
      (void)planner.plan(step, 0.25, kItsNorms);
    }
    Planner resumed(kOnlySite, config, 1);
    resumed.adopt(planner.state());
    Planner fresh(kOnlySite, config, 1);
    EXPECT_NE(fresh.plan(7, 0.25, kItsNorms), planner.plan(7, 0.25, kItsNorms));
    EXPECT_EQ(resumed.plan(7, 0.25, kItsNorms), planner.current());
    EXPECT_EQ(resumed.state(), planner.state());
  }
}

TEST(Planner, AnnealsToTheLargestNorms) {
  std::vector<std::vector<float>> norms{std::vector<float>(64)};
  std::iota(norms[0].begin(), norms[0].end(), 1.0F);
  const SampleSize size{.ratio = 0.25};
  Planner planner(kOnlySite, {.sampler = "anneal", .size = size, .anneal_steps = 50}, 1);
  Planner gumbel(kOnlySite, {.sampler = "gumbel", .size = size}, 1);
  Planner topk(kOnlySite, {.sampler = "topk", .size = size}, 1);
  EXPECT_EQ(planner.plan(0, 0.25, norms), gumbel.plan(0, 0.25, norms));
  const Plan between = planner.plan(35, 0.25, norms);
  EXPECT_NE(between, gumbel.plan(35, 0.25, norms));
  EXPECT_NE(between, topk.plan(35, 0.25, norms));
  for (const std::uint64_t step : {50, 51, 1000}) {
    EXPECT_EQ(planner.plan(step, 0.25, norms), topk.plan(step, 0.25, norms)) << step;
  }
}

/// Columns of 24 whose rows go out in three groups: a column is sent when it and the row's group are kept.
TEST(Planner, SendsEveryRowWithEveryColumnWithinItsBound) {
  const std::vector<Site> sites{{.name = "w", .channels = 24, .in_turn = false, .row_site = 1},
                                {.name = "w.out", .channels = 10, .in_turn = true, .row_site = {}}};
  const SampleSize size{.ratio = 0.25, .minimal_k = 1, .channel_multiple = 1};
  for (const std::string sampler : {"aged", "cyclic"}) {
    Planner planner(sites, {.sampler = sampler, .size = size, .resample_every = 1, .row_groups = 3}, 1);
    // A few columns weigh nothing, others very much: left alone, the light ones would wait for ever.
    std::vector<std::vector<float>> norms{std::vector<float>(24, 1.0F), std::vector<float>(10, 1.0F)};
    for (int c = 0; c < 24; ++c) {
      norms[0][c] = c % 3 == 0 ? 0.0F : c % 3 == 1 ? 1e-4F : 1e4F;
    }
    const std::int64_t bound = 3 * longest_wait(24, 6);
    std::vector<std::int64_t> last(24 * 10, 0);
    for (std::int64_t step = 1; step < 10 * bound; ++step) {
      const Plan& plan = planner.plan(static_cast<std::uint64_t>(step), 0.25, norms);
      EXPECT_EQ(plan.sets[0].size(), 6);
      for (const auto row : plan.sets[1].kept) {
        for (const auto column : plan.sets[0].kept) {
          last[row * 24 + column] = step;
        }
      }
      for (const std::int64_t sent : last) {
        ASSERT_LE(step - sent, bound) << sampler;
      }
    }
  }
}

TEST(Neighbours, ShareOutAllChannels) {
  for (const std::int64_t channels : {1, 7, 64, 1000}) {
    for (const std::int64_t groups : {1, 2, 3, 8}) {
      std::vector<std::int32_t> all;
      for (std::int64_t group = 0; group < groups; ++group) {
        const ChannelSet set = neighbours(channels, groups, group);
        set.check();
        EXPECT_LE(set.size(), neighbours(channels, groups, groups - 1).size());
        if (group >= channels) {
          EXPECT_EQ(set, neighbours(channels, groups, group % channels));
          continue;
        }
        all.insert(all.end(), set.kept.begin(), set.kept.end());
      }
      EXPECT_EQ(all, ChannelSet::all(channels).kept);
    }
  }
}

TEST(SamplingConfig, RefusesNoSteps) {
  EXPECT_THROW(uniform(0).validate(), Error);
  EXPECT_THROW((SamplingConfig{.sampler = "anneal", .anneal_steps = 0}.validate()), Error);
}

}  // namespace
}  // namespace slicereduce
