#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace slicereduce {

/// What ranks compare, and whether one of them wants to stop, as numbers whose minima over all ranks tell: of
/// a value and its complement they are complements of each other only if all ranks have the same value.
class Agreement {
 public:
  Agreement(std::uint64_t value, bool wants_stop) : numbers_{value, ~value, wants_stop ? 0U : 1U} {}

  /// For Communicator::start_allreduce_min().
  [[nodiscard]] std::span<std::uint64_t> numbers() { return numbers_; }
  // Once that is done
  [[nodiscard]] bool disagreed() const { return numbers_[0] != ~numbers_[1]; }
  [[nodiscard]] bool stop_requested() const { return numbers_[2] == 0; }

 private:
  std::array<std::uint64_t, 3> numbers_;
};

}  // namespace slicereduce
