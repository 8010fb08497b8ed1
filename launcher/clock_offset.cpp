#include "launcher/clock_offset.hpp"

#include <limits>
#include <span>
#include <vector>

namespace slicereduce {

namespace {

template <typename Value>
void broadcast(Communicator& communicator, Value& value, int root) {
  communicator.broadcast(std::as_writable_bytes(std::span(&value, 1)), root);
}

/// Of `rank` against rank 0. What it gives there alone is right; the others pass messages on.
ClockOffset exchange(Communicator& communicator, int rank, const std::function<std::int64_t()>& now) {
  std::int64_t asked = now();
  broadcast(communicator, asked, 0);
  std::int64_t read = now();
  broadcast(communicator, read, rank);
  std::int64_t answered = now();
  broadcast(communicator, answered, 0);
  const std::int64_t half = (answered - asked) / 2;
  return {.at = read, .to_rank0 = asked + half - read, .bound = half};
}

}  // namespace

std::int64_t at_rank0(std::int64_t time, const ClockOffset& earlier, const ClockOffset& later) {
  const auto between = static_cast<double>(later.at - earlier.at);
  const double share = between > 0 ? static_cast<double>(time - earlier.at) / between : 0;
  const auto change = static_cast<double>(later.to_rank0 - earlier.to_rank0);
  return time + earlier.to_rank0 + static_cast<std::int64_t>(share * change);
}

ClockOffset measure_clock(Communicator& communicator, const std::function<std::int64_t()>& now) {
  constexpr int kExchanges = 8;
  ClockOffset own{.at = now()};
  for (int rank = 1; rank < communicator.world_size(); ++rank) {
    ClockOffset best{.bound = std::numeric_limits<std::int64_t>::max()};
    communicator.barrier();  // nobody is late for the first question
    for (int i = 0; i < kExchanges; ++i) {
      const ClockOffset offset = exchange(communicator, rank, now);
      best = offset.bound < best.bound ? offset : best;
    }
    own = rank == communicator.rank() ? best : own;
  }
  return own;
}

}  // namespace slicereduce
