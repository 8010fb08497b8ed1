#include "sampling/sampler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"

namespace slicereduce {
namespace {

constexpr SampleSize kPublished{.ratio = 0.5, .minimal_k = 1, .channel_multiple = 1};

std::vector<float> random_norms(std::int64_t channels, std::uint64_t seed) {
  RandomStream random(seed, RandomPurpose::weights, 0, 0);
  std::vector<float> norms(channels);
  for (float& norm : norms) {
    norm = static_cast<float>(random.uniform() * 3);
  }
  return norms;
}

ChannelSet draw(const std::string& sampler, const std::vector<float>& norms, const SampleSize& size,
                std::uint64_t step = 0, Scaling scaling = Scaling::usual) {
  const std::vector<std::uint32_t> waiting(norms.size(), 0);
  RandomStream random(11, RandomPurpose::plan, step, 0);
  ChannelSet set = make_sampler(sampler, scaling)->draw({.norms = norms, .waiting = waiting}, size, random);
  set.check();
  return set;
}

/// p_c of the samplers' documentation.
std::vector<double> mixed_probabilities(const std::vector<float>& norms) {
  const double sum = std::accumulate(norms.begin(), norms.end(), 0.0);
  std::vector<double> p;
  for (const float norm : norms) {
    p.push_back(0.9 * norm / sum + 0.1 / static_cast<double>(norms.size()));
  }
  return p;
}

TEST(SampleSize, FollowsThePublishedFormula) {
  for (const double ratio : {0.1, 0.25, 1.0 / 3, 0.5, 0.99, 1.0}) {
    for (const std::int64_t minimal : {1, 10, 64}) {
      for (const std::int64_t channels : {3, 16, 64, 100, 2048}) {
        const SampleSize size{.ratio = ratio, .minimal_k = minimal, .channel_multiple = 1};
        const auto expected =
            std::min(std::max(static_cast<std::int64_t>(channels * ratio), minimal), channels);
        EXPECT_EQ(size.kept(channels), expected) << ratio << ' ' << minimal << ' ' << channels;
      }
    }
  }
}

TEST(SampleSize, RoundsUpToTheMultipleWhereChannelsAllow) {
  const SampleSize size{.ratio = 1.0 / 3, .minimal_k = 1, .channel_multiple = 8};
  EXPECT_EQ(size.kept(64), 24);  // 21
  EXPECT_EQ(size.kept(48), 16);  // 16
  EXPECT_EQ(size.kept(6), 6);    // 2, rounded up to 8, but there are 6
}

TEST(SampleSize, RefusesWhatIsNoRatio) {
  for (const double ratio : {0.0, -0.5, 1.5, std::nan(""), std::numeric_limits<double>::infinity()}) {
    SampleSize size;
    size.ratio = ratio;
    EXPECT_THROW(size.validate(), Error) << ratio;
  }
  EXPECT_THROW((SampleSize{.ratio = 0.5, .minimal_k = 0, .channel_multiple = 1}.validate()), Error);
  EXPECT_THROW((SampleSize{.ratio = 0.5, .minimal_k = 1, .channel_multiple = 0}.validate()), Error);
}

TEST(MakeSampler, NamesTheSamplersItKnows) {
  for (const auto& name : sampler_names()) {
    EXPECT_NE(make_sampler(name), nullptr);
  }
  try {
    (void)make_sampler("best");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("adaptive"), std::string::npos);
  }
}

TEST(EverySampler, DrawsAValidSetAndTheSameOneAgain) {
  for (const auto& name : sampler_names()) {
    for (const std::int64_t channels : {1, 2, 7, 64, 513}) {
      const auto norms = random_norms(channels, 3);
      EXPECT_EQ(draw(name, norms, kPublished), draw(name, norms, kPublished)) << name;
      const std::vector<float> zero(channels, 0.0F);
      EXPECT_EQ(draw(name, zero, kPublished).channels, channels) << name;
    }
  }
}

TEST(EverySampler, OfFixedSizeKeepsTheSizeItPromises) {
  for (const auto& name : sampler_names()) {
    if (make_sampler(name)->fixed_size()) {
      for (std::uint64_t step = 0; step < 20; ++step) {
        EXPECT_EQ(draw(name, random_norms(100, step), kPublished, step).size(), 50) << name;
      }
    }
  }
}

TEST(TopK, IsTheBruteForceChoiceWithTiesToTheLowerIndex) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    auto norms = random_norms(40, seed);
    for (float& norm : norms) {
      norm = std::round(norm * 4);  // many ties
    }
    std::vector<std::int32_t> order(norms.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return norms[a] > norms[b]; });
    std::vector<std::int32_t> expected(order.begin(), order.begin() + 20);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(draw("topk", norms, kPublished).kept, expected);
  }
}

TEST(Adaptive, IsTheSmallestSetThatHoldsTheShare) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto norms = random_norms(33, seed);
    const auto set = draw("adaptive", norms, {.ratio = 0.7, .minimal_k = 1, .channel_multiple = 1});
    double held = 0;
    float least = 1e9F;
    for (const auto c : set.kept) {
      held += norms[c];
      least = std::min(least, norms[c]);
    }
    const double target = 0.7 * std::accumulate(norms.begin(), norms.end(), 0.0);
    EXPECT_GE(held, target * (1 - 1e-6));
    EXPECT_LT(held - least, target);
  }
}

/// The mean of many draws of sum_c kept scale_c x_c, against sum_c x_c, within five standard errors.
void expect_unbiased(const std::string& sampler) {
  const auto norms = random_norms(24, 5);
  const auto x = random_norms(24, 6);
  const double exact = std::accumulate(x.begin(), x.end(), 0.0);
  constexpr int kDraws = 20'000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const auto set = draw(sampler, norms, kPublished, i, Scaling::unbiased);
    double estimate = 0;
    for (std::size_t j = 0; j < set.kept.size(); ++j) {
      estimate += static_cast<double>(set.scale[j]) * x[set.kept[j]];
    }
    sum += estimate;
    squares += estimate * estimate;
  }
  const double mean = sum / kDraws;
  const double error = std::sqrt((squares / kDraws - mean * mean) / kDraws);
  EXPECT_NEAR(mean, exact, 5 * error) << sampler;
}

TEST(Proportional, IsUnbiased) { expect_unbiased("proportional"); }
TEST(Bernoulli, IsUnbiased) { expect_unbiased("bernoulli"); }
TEST(Uniform, IsUnbiasedWhereScaled) { expect_unbiased("uniform"); }
TEST(UniformReplaced, IsUnbiasedWhereScaled) { expect_unbiased("uniform_replaced"); }

TEST(Scaling, CountsWhatIsDrawnTwiceTwice) {
  for (const auto* sampler : {"proportional", "uniform_replaced"}) {
    const auto set = draw(sampler, random_norms(24, 5), kPublished, 0, Scaling::none);
    EXPECT_EQ(std::accumulate(set.scale.begin(), set.scale.end(), 0.0F), 12) << sampler;
  }
  EXPECT_TRUE(draw("bernoulli", random_norms(24, 5), kPublished, 0, Scaling::none).scale.empty());
}

TEST(Scaling, IsRefusedWhereNothingMakesAChoiceUnbiased) {
  for (const auto* sampler : {"topk", "gumbel", "anneal", "adaptive", "aged", "cyclic", "narrow"}) {
    EXPECT_THROW((void)make_sampler(sampler, Scaling::unbiased), Error) << sampler;
    EXPECT_NE(make_sampler(sampler, Scaling::none), nullptr) << sampler;
  }
}

TEST(Bernoulli, KeepsEachChannelWithItsProbability) {
  auto norms = random_norms(24, 7);
  std::fill(norms.begin(), norms.begin() + 14, 0.0F);  // fewer than k are left
  const double sum = std::accumulate(norms.begin(), norms.end(), 0.0);
  std::vector<int> counts(norms.size(), 0);
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) {
    for (const auto c : draw("bernoulli", norms, kPublished, i).kept) {
      ++counts[c];
    }
  }
  for (std::size_t c = 0; c < norms.size(); ++c) {
    const double q = 0.9 * std::min(1.0, 10 * norms[c] / sum) + 0.1 / 24;
    EXPECT_NEAR(counts[c] / static_cast<double>(kDraws), q, 5 * std::sqrt(q * (1 - q) / kDraws) + 1e-12) << c;
  }
}

TEST(Gumbel, FirstChoiceFollowsTheProbabilities) {
  const auto norms = random_norms(10, 8);
  const auto p = mixed_probabilities(norms);
  std::vector<int> counts(norms.size(), 0);
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[draw("gumbel", norms, {.ratio = 0.1, .minimal_k = 1, .channel_multiple = 1}, i).kept.front()];
  }
  for (std::size_t c = 0; c < p.size(); ++c) {
    EXPECT_NEAR(counts[c] / static_cast<double>(kDraws), p[c], 5 * std::sqrt(p[c] * (1 - p[c]) / kDraws))
        << c;
  }
}

TEST(Anneal, IsGumbelAtFirstAndTopKAtLast) {
  const auto norms = random_norms(64, 3);
  const auto anneal = make_sampler("anneal");
  const auto at = [&](double noise, std::uint64_t step) {
    RandomStream random(11, RandomPurpose::plan, step, 0);
    return anneal->draw({.norms = norms, .waiting = {}, .noise = noise}, kPublished, random);
  };
  const ChannelSet best = draw("topk", norms, kPublished);
  const auto mean_shared = [&](double noise) {
    double sum = 0;
    constexpr int kDraws = 200;
    for (int i = 0; i < kDraws; ++i) {
      const ChannelSet set = at(noise, i);
      set.check();
      EXPECT_EQ(set.size(), best.size());
      sum += static_cast<double>(std::ranges::count_if(
          set.kept, [&](std::int32_t channel) { return std::ranges::binary_search(best.kept, channel); }));
    }
    return sum / kDraws;
  };
  EXPECT_EQ(at(1, 5), draw("gumbel", norms, kPublished, 5));
  EXPECT_EQ(at(0, 5), best);
  EXPECT_LT(mean_shared(1), mean_shared(0.3));
  EXPECT_LT(mean_shared(0.3), mean_shared(0.01));
}

TEST(Narrow, KeepsTheFirst) {
  EXPECT_EQ(draw("narrow", random_norms(6, 1), kPublished).kept, (std::vector<std::int32_t>{0, 1, 2}));
}

TEST(Uniform, KeepsAllChannelsEquallyOften) {
  const auto norms = random_norms(10, 9);
  std::vector<int> counts(norms.size(), 0);
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) {
    for (const auto c : draw("uniform", norms, kPublished, i).kept) {
      ++counts[c];
    }
  }
  for (const int count : counts) {
    EXPECT_NEAR(count / static_cast<double>(kDraws), 0.5, 5 * std::sqrt(0.25 / kDraws));
  }
}

/// Draws so far since each channel was kept, as a planner counts them.
struct Waits {
  explicit Waits(std::size_t channels) : waiting(channels, 0) {}

  ChannelSet draw(const std::string& sampler, const std::vector<float>& norms, const SampleSize& size) {
    RandomStream random(1, RandomPurpose::plan, 0, 0);
    ChannelSet set = make_sampler(sampler)->draw({.norms = norms, .waiting = waiting}, size, random);
    for (auto& draws : waiting) {
      ++draws;
    }
    for (const auto c : set.kept) {
      waiting[c] = 0;
    }
    return set;
  }

  std::vector<std::uint32_t> waiting;
};

TEST(Cyclic, TakesAllInTurn) {
  Waits waits(7);
  const std::vector<float> norms = random_norms(7, 1);
  const SampleSize three{.ratio = 0.5, .minimal_k = 1, .channel_multiple = 1};
  EXPECT_EQ(waits.draw("cyclic", norms, three).kept, (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(waits.draw("cyclic", norms, three).kept, (std::vector<std::int32_t>{3, 4, 5}));
  EXPECT_EQ(waits.draw("cyclic", norms, three).kept, (std::vector<std::int32_t>{0, 1, 6}));
}

TEST(Aged, SendsHeavyChannelsMoreOftenInProportion) {
  Waits waits(40);
  std::vector<float> norms(40, 1.0F);
  std::fill(norms.begin(), norms.begin() + 10, 3.0F);
  std::vector<int> counts(40, 0);
  for (int i = 0; i < 3000; ++i) {
    for (const auto c :
         waits.draw("aged", norms, {.ratio = 0.25, .minimal_k = 1, .channel_multiple = 1}).kept) {
      ++counts[c];
    }
  }
  const double heavy = std::accumulate(counts.begin(), counts.begin() + 10, 0.0) / 10;
  const double light = std::accumulate(counts.begin() + 10, counts.end(), 0.0) / 30;
  EXPECT_NEAR(heavy / light, 3.0, 0.3);
}

TEST(Blocks, AreKeptWhole) {
  const std::vector<float> norms = random_norms(96, 5);
  const std::vector<std::uint32_t> waiting(96, 3);
  const SampleSize size{.ratio = 0.31, .minimal_k = 8, .channel_multiple = 1, .channel_block = 4};
  for (const std::string& name : sampler_names()) {
    const auto sampler = make_sampler(name);
    RandomStream random(1, RandomPurpose::plan, 0, 0);
    const ChannelSet set = draw_set(*sampler, {.norms = norms, .waiting = waiting, .noise = 1}, size, random);
    set.check();
    EXPECT_EQ(set.channels, 96) << name;
    EXPECT_TRUE(set.scale.empty() || set.scale.size() == set.kept.size()) << name;
    EXPECT_EQ(set.size() % 4, 0) << name;
    if (sampler->fixed_size()) {
      EXPECT_EQ(set.size(), size.kept(96)) << name;
      EXPECT_EQ(set.size(), 32) << name;  // 29 in whole blocks
    }
    for (std::size_t i = 0; i < set.kept.size(); i += 4) {
      EXPECT_EQ(set.kept[i] % 4, 0) << name;
      EXPECT_EQ(set.kept[i + 3], set.kept[i] + 3) << name;
      EXPECT_TRUE(set.scale.empty() || set.scale[i] == set.scale[i + 3]) << name;
    }
  }
}

TEST(Blocks, AreWeighedByAllTheirWeights) {
  const std::vector<float> norms{3, 3, 4, 0.1F, 0, 5, 2, 2};  // sqrt(18), sqrt(16.01), 5, sqrt(8)
  RandomStream random(1, RandomPurpose::plan, 0, 0);
  const SampleSize size{.ratio = 0.5, .minimal_k = 1, .channel_multiple = 1, .channel_block = 2};
  EXPECT_EQ(draw_set(*make_sampler("topk"), {.norms = norms, .waiting = {}}, size, random).kept,
            (std::vector<std::int32_t>{0, 1, 4, 5}));
}

TEST(Blocks, AreOneChannelWhereTheChannelsAreNoMultiple) {
  const std::vector<float> norms = random_norms(10, 6);
  SampleSize size{.ratio = 0.5, .minimal_k = 1, .channel_multiple = 1, .channel_block = 4};
  RandomStream random(1, RandomPurpose::plan, 0, 0);
  const ChannelSet set = draw_set(*make_sampler("topk"), {.norms = norms, .waiting = {}}, size, random);
  EXPECT_EQ(set, make_sampler("topk")->draw({.norms = norms, .waiting = {}}, kPublished, random));
  size.channel_block = 0;
  EXPECT_THROW(size.validate(), Error);
}

}  // namespace
}  // namespace slicereduce
