#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "launcher/train_options.hpp"

namespace slicereduce {

/// The parts of a step, as metrics and benchmarks name them, in order.
inline constexpr std::array<const char*, 7> kStepParts{
    "plan_ms", "gather_ms", "forward_ms", "backward_ms", "exposed_comm_ms", "comm_ms", "optimizer_ms"};

/// Which steps to time: on random images, with fresh weights.
struct TimedSteps {
  NetworkOptions network;
  StepOptions step;
  std::int64_t in_channels = 3;
  std::int64_t image_size = 224;
  std::int64_t classes = 1000;
  std::int64_t warmup = 5;
  std::int64_t steps = 30;
};

struct StepTiming {
  /// One value a step: `step_ms` and its parts.
  std::map<std::string, std::vector<double>> ms;
  std::int64_t wire_bytes = 0;  ///< of the last step
  bool captured = false;        ///< a step was given to the device at once

  /// Collective. Of the steps' times, each the slowest rank's; `q` in [0, 1].
  [[nodiscard]] double quantile_of_ranks(const std::string& name, double q, Communicator& communicator) const;
};

/// Collective. Times training steps of this rank, one after the other as in training.
[[nodiscard]] StepTiming time_steps(const TimedSteps& what, at::Device device, Communicator& communicator);

}  // namespace slicereduce
