#include "sampling/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <type_traits>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

/// Share of the uniform distribution that keeps every channel reachable (the paper's 0.1).
constexpr double kUniformShare = 0.1;

std::vector<double> probabilities(std::span<const float> norms) {
  const double sum = std::accumulate(norms.begin(), norms.end(), 0.0);
  const double uniform = 1.0 / static_cast<double>(norms.size());
  std::vector<double> p(norms.size(), uniform);
  if (sum > 0) {
    std::transform(norms.begin(), norms.end(), p.begin(), [&](float norm) {
      return (1 - kUniformShare) * static_cast<double>(norm) / sum + kUniformShare * uniform;
    });
  }
  return p;
}

/// The k channels of largest score, ties to the lower index, ascending.
template <typename Score>
ChannelSet largest(std::span<const Score> scores, std::int64_t k) {
  ChannelSet set = ChannelSet::all(static_cast<std::int64_t>(scores.size()));
  if (k < set.channels) {
    const auto before = [&](std::int32_t a, std::int32_t b) {
      return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
    };
    std::nth_element(set.kept.begin(), set.kept.begin() + k, set.kept.end(), before);
    set.kept.resize(k);
    std::sort(set.kept.begin(), set.kept.end());
  }
  return set;
}

class TopK final : public Sampler {
 public:
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& /*random*/) const override {
    return largest(candidates.norms, size.kept(candidates.channels()));
  }
  [[nodiscard]] bool settles() const override { return true; }
  [[nodiscard]] bool fixed_size() const override { return true; }
  [[nodiscard]] bool keeps_largest() const override { return true; }
};

/// The k largest of log p_c + noise * G_c, where each G_c has the standard Gumbel distribution.
ChannelSet gumbel_topk(const Candidates& candidates, double noise, const SampleSize& size,
                       RandomStream& random) {
  std::vector<double> scores = probabilities(candidates.norms);
  for (double& score : scores) {
    score = std::log(score) - noise * std::log(-std::log(random.uniform()));
  }
  return largest(std::span<const double>(scores), size.kept(candidates.channels()));
}

class Gumbel final : public Sampler {
 public:
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& random) const override {
    return gumbel_topk(candidates, 1, size, random);
  }
  [[nodiscard]] bool settles() const override { return false; }
  [[nodiscard]] bool fixed_size() const override { return true; }
};

class Anneal final : public Sampler {
 public:
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& random) const override {
    return candidates.noise > 0 ? gumbel_topk(candidates, candidates.noise, size, random)
                                : largest(candidates.norms, size.kept(candidates.channels()));
  }
  [[nodiscard]] bool settles() const override { return true; }
  [[nodiscard]] bool fixed_size() const override { return true; }
  [[nodiscard]] bool explores() const override { return true; }
};

/// Which channels have how often been drawn, and by what each is multiplied.
ChannelSet kept_by_count(std::span<const int> counts, bool scaled, const std::vector<double>& expected) {
  ChannelSet set{.channels = static_cast<std::int64_t>(counts.size()), .kept = {}, .scale = {}};
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] > 0) {
      set.kept.push_back(static_cast<std::int32_t>(c));
      set.scale.push_back(static_cast<float>(scaled ? counts[c] / expected[c] : counts[c]));
    }
  }
  return set;
}

/// k draws with replacement, channel c with probability p[c].
ChannelSet draw_with_replacement(const std::vector<double>& p, std::int64_t k, bool scaled,
                                 RandomStream& random) {
  std::vector<double> cumulated(p.size());
  std::partial_sum(p.begin(), p.end(), cumulated.begin());
  std::vector<int> counts(p.size(), 0);
  for (std::int64_t draw = 0; draw < k; ++draw) {
    const auto at = std::upper_bound(cumulated.begin(), cumulated.end(), random.uniform() * cumulated.back());
    ++counts[std::min<std::size_t>(at - cumulated.begin(), p.size() - 1)];
  }
  std::vector<double> expected(p.size());
  std::transform(p.begin(), p.end(), expected.begin(),
                 [&](double each) { return static_cast<double>(k) * each; });
  return kept_by_count(counts, scaled, expected);
}

class Proportional final : public Sampler {
 public:
  explicit Proportional(Scaling scaling) : scaled_(scaling != Scaling::none) {}
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& random) const override {
    const std::int64_t k = size.kept(candidates.channels());
    return draw_with_replacement(probabilities(candidates.norms), k, scaled_, random);
  }
  [[nodiscard]] bool settles() const override { return false; }
  [[nodiscard]] bool fixed_size() const override { return false; }

 private:
  bool scaled_;
};

class UniformReplaced final : public Sampler {
 public:
  explicit UniformReplaced(Scaling scaling) : scaled_(scaling == Scaling::unbiased) {}
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& random) const override {
    const std::int64_t channels = candidates.channels();
    const std::vector<double> p(channels, 1.0 / static_cast<double>(channels));
    return draw_with_replacement(p, size.kept(channels), scaled_, random);
  }
  [[nodiscard]] bool settles() const override { return false; }
  [[nodiscard]] bool fixed_size() const override { return false; }

 private:
  bool scaled_;
};

/// q_c of the sampler's description, with which each channel is kept.
std::vector<double> bernoulli_probabilities(std::span<const float> norms, std::int64_t k) {
  const auto nonzero = static_cast<std::int64_t>(
      std::count_if(norms.begin(), norms.end(), [](float norm) { return norm != 0; }));
  const double sum = std::accumulate(norms.begin(), norms.end(), 0.0);
  const auto channels = static_cast<double>(norms.size());
  const auto expected = static_cast<double>(nonzero > 0 ? std::min(k, nonzero) : k);
  std::vector<double> q(norms.size());
  std::transform(norms.begin(), norms.end(), q.begin(), [&](float norm) {
    const double share = sum > 0 ? static_cast<double>(norm) / sum : 1 / channels;
    return (1 - kUniformShare) * std::min(1.0, expected * share) + kUniformShare / channels;
  });
  return q;
}

class Bernoulli final : public Sampler {
 public:
  explicit Bernoulli(Scaling scaling) : scaled_(scaling != Scaling::none) {}
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& random) const override {
    const std::int64_t channels = candidates.channels();
    const std::vector<double> q = bernoulli_probabilities(candidates.norms, size.kept(channels));
    ChannelSet set{.channels = channels, .kept = {}, .scale = {}};
    for (std::size_t c = 0; c < q.size(); ++c) {
      if (random.uniform() < q[c]) {
        set.kept.push_back(static_cast<std::int32_t>(c));
        if (scaled_) {
          set.scale.push_back(static_cast<float>(1.0 / q[c]));
        }
      }
    }
    // A network cannot run on nothing. As rare as prod(1 - q_c), about exp(-k).
    return set.kept.empty() ? largest(candidates.norms, 1) : set;
  }
  [[nodiscard]] bool settles() const override { return false; }
  [[nodiscard]] bool fixed_size() const override { return false; }

 private:
  bool scaled_;
};

class Uniform final : public Sampler {
 public:
  explicit Uniform(Scaling scaling) : scaled_(scaling == Scaling::unbiased) {}
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& random) const override {
    ChannelSet set = ChannelSet::all(candidates.channels());
    const std::int64_t k = size.kept(set.channels);
    for (std::int64_t i = 0; i < k; ++i) {
      std::swap(set.kept[i], set.kept[i + static_cast<std::int64_t>(random.below(set.channels - i))]);
    }
    set.kept.resize(k);
    std::sort(set.kept.begin(), set.kept.end());
    if (scaled_) {
      set.scale.assign(k, static_cast<float>(set.channels) / static_cast<float>(k));
    }
    return set;
  }
  [[nodiscard]] bool settles() const override { return false; }
  [[nodiscard]] bool fixed_size() const override { return true; }

 private:
  bool scaled_;
};

class Narrow final : public Sampler {
 public:
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& /*random*/) const override {
    ChannelSet set = ChannelSet::all(candidates.channels());
    set.kept.resize(size.kept(set.channels));
    return set;
  }
  [[nodiscard]] bool settles() const override { return true; }
  [[nodiscard]] bool fixed_size() const override { return true; }
};

class Adaptive final : public Sampler {
 public:
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& /*random*/) const override {
    std::vector<float> sorted(candidates.norms.begin(), candidates.norms.end());
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const double target = size.ratio * std::accumulate(sorted.begin(), sorted.end(), 0.0);
    double held = 0;
    std::int64_t k = 0;
    while (k < static_cast<std::int64_t>(sorted.size()) && held < target) {
      held += sorted[k++];
    }
    return largest(candidates.norms, size.bounded(k, candidates.channels()));
  }
  [[nodiscard]] bool settles() const override { return true; }
  [[nodiscard]] bool fixed_size() const override { return false; }
};

/// Turns (of ceil(C / k) draws, in which each channel could have been kept once) that a channel may wait.
constexpr std::int64_t kLongestWaitTurns = 4;

std::int64_t turn(std::int64_t channels, std::int64_t k) { return (channels + k - 1) / k; }

/// A channel's weight says how much its slice of the gradient matters, its wait how much of it has gathered.
/// One of small weight would wait for a very long time, so those that are overdue go first, the oldest before
/// the others: at most C of them, they are through after another turn.
class Aged final : public Sampler {
 public:
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& /*random*/) const override {
    struct Score {
      std::uint32_t overdue;
      double product;
      auto operator<=>(const Score&) const = default;
    };
    const std::int64_t k = size.kept(candidates.channels());
    const auto limit = static_cast<std::uint32_t>(kLongestWaitTurns * turn(candidates.channels(), k));
    std::vector<Score> scores(candidates.norms.size());
    for (std::size_t c = 0; c < scores.size(); ++c) {
      const std::uint32_t waited = candidates.waiting[c];
      scores[c] = {.overdue = waited >= limit ? waited : 0,
                   .product = static_cast<double>(candidates.norms[c]) * (waited + 1.0)};
    }
    return largest(std::span<const Score>(scores), k);
  }
  [[nodiscard]] bool settles() const override { return false; }
  [[nodiscard]] bool fixed_size() const override { return true; }
  [[nodiscard]] bool counts_draws() const override { return true; }
};

class Cyclic final : public Sampler {
 public:
  [[nodiscard]] ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                RandomStream& /*random*/) const override {
    return largest(candidates.waiting, size.kept(candidates.channels()));
  }
  [[nodiscard]] bool settles() const override { return false; }
  [[nodiscard]] bool fixed_size() const override { return true; }
  [[nodiscard]] bool counts_draws() const override { return true; }
};

/// What samplers see of blocks.
struct BlockNumbers {
  BlockNumbers(const Candidates& candidates, std::int64_t block) {
    for (std::size_t first = 0; first < candidates.norms.size(); first += static_cast<std::size_t>(block)) {
      const auto of_block = candidates.norms.subspan(first, static_cast<std::size_t>(block));
      norms.push_back(static_cast<float>(
          std::sqrt(std::inner_product(of_block.begin(), of_block.end(), of_block.begin(), 0.0))));
      if (!candidates.waiting.empty()) {
        waiting.push_back(candidates.waiting[first]);
      }
    }
  }
  std::vector<float> norms;
  std::vector<std::uint32_t> waiting;
};

/// That makes a sampler of fixed size keep as many channels as `size` has it; others, as nearly as blocks
/// allow.
SampleSize size_in_blocks(const Sampler& sampler, const SampleSize& size, std::int64_t channels) {
  const std::int64_t block = size.block(channels);
  if (sampler.fixed_size()) {
    return {.ratio = size.ratio, .minimal_k = size.kept(channels) / block, .channel_multiple = 1};
  }
  return {.ratio = size.ratio,
          .minimal_k = (size.minimal_k + block - 1) / block,
          .channel_multiple = std::lcm(size.channel_multiple, block) / block};
}

/// The channels of blocks.
ChannelSet members(const ChannelSet& blocks, std::int64_t block) {
  ChannelSet set{.channels = blocks.channels * block, .kept = {}, .scale = {}};
  for (std::size_t i = 0; i < blocks.kept.size(); ++i) {
    for (std::int64_t of_block = 0; of_block < block; ++of_block) {
      set.kept.push_back(static_cast<std::int32_t>(blocks.kept[i] * block + of_block));
    }
    if (!blocks.scale.empty()) {
      set.scale.insert(set.scale.end(), static_cast<std::size_t>(block), blocks.scale[i]);
    }
  }
  return set;
}

using Maker = std::unique_ptr<Sampler> (*)(Scaling);

template <typename T>
std::unique_ptr<Sampler> make(Scaling scaling) {
  if constexpr (std::is_constructible_v<T, Scaling>) {
    return std::make_unique<T>(scaling);
  } else if (scaling == Scaling::unbiased) {
    return nullptr;
  } else {
    return std::make_unique<T>();
  }
}

const std::map<std::string, Maker>& makers() {
  static const std::map<std::string, Maker> kMakers{{"topk", make<TopK>},
                                                    {"gumbel", make<Gumbel>},
                                                    {"anneal", make<Anneal>},
                                                    {"proportional", make<Proportional>},
                                                    {"bernoulli", make<Bernoulli>},
                                                    {"uniform", make<Uniform>},
                                                    {"uniform_replaced", make<UniformReplaced>},
                                                    {"adaptive", make<Adaptive>},
                                                    {"aged", make<Aged>},
                                                    {"cyclic", make<Cyclic>},
                                                    {"narrow", make<Narrow>}};
  return kMakers;
}

}  // namespace

void SampleSize::validate() const {
  if (!(ratio > 0 && ratio <= 1)) {  // also false for nan
    throw Error(ErrorKind::usage,
                concat("sample_ratio = ", ratio, ": expected 0 < sample_ratio <= 1 (--sample-ratio)"));
  }
  if (minimal_k < 1) {
    throw Error(ErrorKind::usage, concat("minimal_k = ", minimal_k, ": expected at least 1 (--minimal-k)"));
  }
  if (channel_multiple < 1) {
    throw Error(ErrorKind::usage, concat("channel_multiple = ", channel_multiple,
                                         ": expected at least 1 (--channel-multiple)"));
  }
  if (channel_block < 1) {
    throw Error(ErrorKind::usage,
                concat("channel_block = ", channel_block, ": expected at least 1 (--channel-block)"));
  }
}

std::int64_t SampleSize::kept(std::int64_t channels) const {
  return bounded(static_cast<std::int64_t>(static_cast<double>(channels) * ratio), channels);
}

std::int64_t SampleSize::bounded(std::int64_t k, std::int64_t channels) const {
  const std::int64_t least = std::max<std::int64_t>(k, minimal_k);
  const std::int64_t multiple = std::lcm(channel_multiple, block(channels));
  return std::min((least + multiple - 1) / multiple * multiple, channels);
}

std::int64_t SampleSize::block(std::int64_t channels) const {
  return channels % channel_block == 0 ? channel_block : 1;
}

ChannelSet draw_set(const Sampler& sampler, const Candidates& candidates, const SampleSize& size,
                    RandomStream& random) {
  const std::int64_t block = size.block(candidates.channels());
  if (block == 1) {
    return sampler.draw(candidates, size, random);
  }
  const BlockNumbers numbers(candidates, block);
  const ChannelSet blocks =
      sampler.draw({.norms = numbers.norms, .waiting = numbers.waiting, .noise = candidates.noise},
                   size_in_blocks(sampler, size, candidates.channels()), random);
  return members(blocks, block);
}

std::unique_ptr<Sampler> make_sampler(const std::string& name, Scaling scaling) {
  const auto found = makers().find(name);
  if (found == makers().end()) {
    std::string known;
    for (const auto& option : sampler_names()) {
      known += (known.empty() ? "" : ", ") + option;
    }
    throw Error(ErrorKind::usage,
                concat("unknown sampler '", name, "': expected one of ", known, " (--sampler)"));
  }
  auto sampler = found->second(scaling);
  if (sampler == nullptr) {
    throw Error(ErrorKind::usage, concat("sampler '", name,
                                         "' has no scale that makes it unbiased: take proportional, "
                                         "bernoulli, uniform or uniform_replaced"));
  }
  return sampler;
}

std::int64_t longest_wait(std::int64_t channels, std::int64_t k) {
  return (kLongestWaitTurns + 1) * turn(channels, k) + 1;
}

const std::vector<std::string>& sampler_names() {
  static const std::vector<std::string> kNames{
      "topk",     "gumbel", "anneal", "proportional", "bernoulli", "uniform", "uniform_replaced",
      "adaptive", "aged",   "cyclic", "narrow"};
  return kNames;
}

}  // namespace slicereduce
