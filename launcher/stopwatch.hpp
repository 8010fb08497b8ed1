#pragma once

#include <chrono>
#include <utility>

#include "core/device.hpp"

namespace slicereduce {

/// Laps of one clock: the parts of a step add up to the whole.
class Stopwatch {
 public:
  /// A lap ends once `device` has done what it was given in it.
  explicit Stopwatch(at::Device device) : device_(device) {}

  /// Milliseconds since the start or the last lap.
  double lap_ms() {
    synchronize(device_);
    const Clock::time_point now = Clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(last_, now)).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  at::Device device_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace slicereduce
