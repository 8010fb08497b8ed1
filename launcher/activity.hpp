#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace slicereduce {

/// What a run is at, in the order in which it comes first.
enum class Phase : std::int32_t { starting, training, saving, evaluating };

/// What a rank says of itself to others. It travels between processes as the bytes that it is.
struct Beat {
  std::int64_t step = 0;  ///< from 1; 0 before the first
  double seconds = 0;     ///< since it entered the step, or what comes between steps
  Phase phase = Phase::starting;
  std::int32_t waits = 0;  ///< 1 where it waits for other ranks
};

/// "step 7, evaluating for 31 s".
[[nodiscard]] std::string describe(const Beat& beat);

/// What this rank is at: written by the thread that trains, read by the watchdog's.
class Activity {
 public:
  void enter(Phase phase);
  /// Enters the training of `step`.
  void at_step(std::int64_t step);
  [[nodiscard]] Beat beat() const;

 private:
  using Clock = std::chrono::steady_clock;
  mutable std::mutex mutex_;
  std::int64_t step_ = 0;
  Phase phase_ = Phase::starting;
  Clock::time_point since_ = Clock::now();
};

}  // namespace slicereduce
