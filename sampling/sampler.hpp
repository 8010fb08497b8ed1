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
  std::int64_t channel_multiple =
      8;  ///< k is rounded up to a multiple of this; 1 is the formula as published

  /// Throws Error(usage) naming the option, its value and its range.
  void validate() const;
  /// k = min(max(int(C * ratio), minimal_k), C), rounded up to the multiple where C allows.
  [[nodiscard]] std::int64_t kept(std::int64_t channels) const;
  /// min(max(k, minimal_k), C) rounded up to the multiple.
  [[nodiscard]] std::int64_t bounded(std::int64_t k, std::int64_t channels) const;
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

  /// `norms` has one value >= 0 a channel. Returns a set that passes ChannelSet::check().
  [[nodiscard]] virtual ChannelSet draw(std::span<const float> norms, const SampleSize& size,
                                        RandomStream& random) const = 0;
  /// Whether its sets come to rest as the weights do: then the sampled network is the result.
  [[nodiscard]] virtual bool settles() const = 0;
  /// Whether a set's size depends on ratio and channels alone, so that the bytes of a step can be told
  /// before.
  [[nodiscard]] virtual bool fixed_size() const = 0;
};

/// `topk` the k largest norms, ties to the lower index (the paper's choice for several nodes).
/// `gumbel` k without replacement, proportional to 0.9 p_c + 0.1 / C (Gumbel top-k; Kool et al. 2019).
/// `proportional` k draws with replacement from the same, scaled by count / (k p_c): unbiased.
/// `bernoulli` each channel with q_c = min(1, k p_c), scaled by 1 / q_c: unbiased, of random size.
/// `uniform` k without replacement, all alike, unscaled (batch norm absorbs the constant).
/// `adaptive` the smallest set that holds `ratio` of the sum of the norms.
/// Throws Error(usage) for another name, listing these.
[[nodiscard]] std::unique_ptr<Sampler> make_sampler(const std::string& name);
[[nodiscard]] const std::vector<std::string>& sampler_names();

}  // namespace slicereduce
