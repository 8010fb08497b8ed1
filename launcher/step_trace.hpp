#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "core/timeline.hpp"
#include "launcher/clock_offset.hpp"

namespace slicereduce {

/// What all ranks do in a number of steps, and between them, as one text in Chrome's trace event format (JSON
/// object; as Perfetto reads it): a process is a rank, its rows are threads and AllReduces,
/// times are by rank 0's clock.
class StepTrace {
 public:
  /// Steps of a start before those that are traced: they take memory, and LibTorch chooses its kernels.
  static constexpr std::int64_t kStepsBefore = 3;

  /// Of `steps` steps; 0: none, and nothing here is collective then. `steps_done` before this start.
  StepTrace(std::int64_t steps_done, std::int64_t steps, Communicator& communicator);

  /// Of the steps that are traced, from 1.
  [[nodiscard]] std::int64_t first_step() const { return first_; }

  /// Collective where tracing begins with this step.
  void before(std::int64_t step);
  /// Collective where tracing ends with this step, and there gives the text, on rank 0.
  [[nodiscard]] std::optional<std::string> after(std::int64_t step);
  /// Collective if tracing has begun: the same for a run that ends earlier.
  [[nodiscard]] std::optional<std::string> end();

 private:
  std::int64_t first_;
  std::int64_t last_;
  Communicator& communicator_;
  ClockOffset clock_at_start_;
  std::unique_ptr<Timeline> timeline_;  ///< while it traces
};

}  // namespace slicereduce
