#pragma once

#include <chrono>
#include <utility>

namespace slicereduce {

/// Laps of one clock: the parts of a step add up to the whole.
class Stopwatch {
 public:
  /// Milliseconds since the start or the last lap.
  double lap_ms() {
    const Clock::time_point now = Clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(last_, now)).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
};

}  // namespace slicereduce
