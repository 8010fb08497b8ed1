#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "sampling/channel_set.hpp"

namespace slicereduce {

/// How many channels of a site are kept.
struct SampleSize {
  double ratio = 0.5;          ///< in (0, 1]
  std::int64_t minimal_k = 8;  ///< never fewer than this, where a site has as many
  /// k is rounded up to a multiple of this; 1 is the formula as published
  std::int64_t channel_multiple = 8;
  /// So many neighbours are kept or left out together, at sites whose channels are a multiple of it.
  std::int64_t channel_block = 1;

  /// Throws Error(usage) naming the option, its value and its range.
  void validate() const;
  /// k = min(max(int(C * ratio), minimal_k), C), rounded up to the multiple where C allows.
  [[nodiscard]] std::int64_t kept(std::int64_t channels) const;
  /// min(max(k, minimal_k), C) rounded up to the multiple.
  [[nodiscard]] std::int64_t bounded(std::int64_t k, std::int64_t channels) const;
  /// Of a site of so many channels: channel_block, or 1.
  [[nodiscard]] std::int64_t block(std::int64_t channels) const;
};

/// The channels of a site that a sampler chooses from.
struct Candidates {
  std::span<const float> norms;  ///< |w_c| >= 0 of the weights that read each channel
  /// Draws since each channel was kept last. Read by samplers of that kind alone; see
  /// Sampler::counts_draws().
  std::span<const std::uint32_t> waiting;
  /// Share of its noise that a sampler still adds which explores first and settles then, in [0, 1]; see
  /// Sampler::explores().
  double noise = 0;

  [[nodiscard]] std::int64_t channels() const { return static_cast<std::int64_t>(norms.size()); }
};

/// Chooses a site's channels from the norms of the weights that read them: p_c below is
/// |w_c| / sum |w|. A pure function of its arguments, so that ranks that share weights and seed choose
/// the same channels without a message.
class Sampler {
 public:
  virtual ~Sampler() = default;
  Sampler() = default;
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  /// Returns a set that passes ChannelSet::check().
  [[nodiscard]] virtual ChannelSet draw(const Candidates& candidates, const SampleSize& size,
                                        RandomStream& random) const = 0;
  /// Whether its sets come to rest as the weights do: then the sampled network is the result.
  [[nodiscard]] virtual bool settles() const = 0;
  /// Whether a set's size depends on ratio and channels alone, so that the bytes of a step can be told
  /// before.
  [[nodiscard]] virtual bool fixed_size() const = 0;
  /// Whether it reads Candidates::waiting: then no channel waits for ever, see longest_wait().
  [[nodiscard]] virtual bool counts_draws() const { return false; }
  /// Whether it reads Candidates::noise.
  [[nodiscard]] virtual bool explores() const { return false; }
  /// Whether it always keeps the largest norms, as kernels::keep_largest() does.
  [[nodiscard]] virtual bool keeps_largest() const { return false; }
};

/// What `sampler` draws of the blocks of a site's channels, see SampleSize::channel_block; of the channels
/// themselves where a block is one. A block's norm is that of all weights that read one of its channels; it
/// waits and is scaled as a whole.
[[nodiscard]] ChannelSet draw_set(const Sampler& sampler, const Candidates& candidates,
                                  const SampleSize& size, RandomStream& random);

/// Whether what is kept is multiplied so that a sum over it estimates the sum over all without bias.
enum class Scaling {
  usual,     ///< as the sampler's description says
  none,      ///< as it is; what is drawn n times counts n times
  unbiased,  ///< by 1 / the expected number of times that it is kept
};

/// `topk` the k largest norms, ties to the lower index (the paper's choice for several nodes).
/// `gumbel` k without replacement, proportional to 0.9 p_c + 0.1 / C (Gumbel top-k; Kool et al. 2019).
/// `anneal` the same with Candidates::noise times the Gumbel noise: at 1 `gumbel`, at 0 `topk`.
/// `proportional` k draws with replacement from the same, scaled by count / (k p_c): unbiased.
/// `bernoulli` each channel with q_c = 0.9 min(1, k' p_c) + 0.1 / C, k' the smaller of k and the number of
/// norms that are not 0, scaled by 1 / q_c: unbiased, of random size.
/// `uniform` k without replacement, all alike, unscaled (batch norm absorbs the constant).
/// `uniform_replaced` k draws with replacement, all alike; what is drawn n times counts n times.
/// `adaptive` the smallest set that holds `ratio` of the sum of the norms.
/// `aged` the k largest of norm x (draws waited + 1), those that waited for 4 ceil(C / k) draws first.
/// `cyclic` the k that waited longest, ties to the lower index: all in turn.
/// `narrow` the first k: a network that is thin from the start.
/// Throws Error(usage) for another name, listing these, and for Scaling::unbiased of a sampler whose choice
/// is not random or whose probabilities are not known: only those that scale, and `uniform...`, have it.
[[nodiscard]] std::unique_ptr<Sampler> make_sampler(const std::string& name,
                                                    Scaling scaling = Scaling::usual);
[[nodiscard]] const std::vector<std::string>& sampler_names();

/// With a sampler that counts draws, each of `channels` is kept at least once in so many draws of k.
[[nodiscard]] std::int64_t longest_wait(std::int64_t channels, std::int64_t k);

}  // namespace slicereduce
