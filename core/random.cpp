#include "core/random.hpp"

#include <array>
#include <limits>
#include <span>

#include "core/digest.hpp"

namespace slicereduce {

namespace {

// Philox takes 64 bits of key and a 64-bit subsequence: the key mixes seed and purpose, the
// subsequence mixes the two coordinates.
std::uint64_t mix(std::uint64_t first, std::uint64_t second) {
  const std::array<std::uint64_t, 2> words{first, second};
  return digest_of(std::as_bytes(std::span(words)));
}

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, RandomPurpose purpose, std::uint64_t a, std::uint64_t b)
    : engine_(mix(seed, static_cast<std::uint64_t>(purpose)), mix(a, b)) {}

std::uint64_t RandomStream::below(std::uint64_t bound) {
  // Rejection of the last, incomplete range keeps every value equally likely.
  const std::uint64_t limit = std::numeric_limits<std::uint64_t>::max() / bound * bound;
  while (true) {
    const std::uint64_t high = engine_();
    const std::uint64_t draw = (high << 32) | engine_();
    if (draw < limit) {
      return draw % bound;
    }
  }
}

}  // namespace slicereduce
