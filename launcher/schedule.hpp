#pragma once

#include <cstdint>
#include <vector>

#include "launcher/train_options.hpp"

namespace slicereduce {

/// Where a run is, and what that means for learning rate, mode and ratio. A function of options and step: a
/// resumed run goes on as if it had never stopped.
class Schedule {
 public:
  Schedule(const TrainOptions& options, std::int64_t steps_per_epoch);

  [[nodiscard]] std::int64_t total_steps() const { return total_steps_; }
  [[nodiscard]] std::int64_t steps_per_epoch() const { return steps_per_epoch_; }
  [[nodiscard]] std::int64_t epoch(std::int64_t step) const { return step / steps_per_epoch_; }
  [[nodiscard]] std::int64_t step_in_epoch(std::int64_t step) const { return step % steps_per_epoch_; }
  /// Whether `steps_done` ends an epoch or the run.
  [[nodiscard]] bool ends_epoch(std::int64_t steps_done) const;

  /// Linear warm-up, then `cosine` to zero at the end, `step` (times --lr-gamma at --lr-milestones, or every
  /// 30 epochs) or `constant`.
  [[nodiscard]] double lr(std::int64_t step) const;
  [[nodiscard]] Mode mode(std::int64_t step) const;
  [[nodiscard]] double ratio(std::int64_t step) const;
  /// Side of training images; 0: as evaluation has them.
  [[nodiscard]] std::int64_t image_size(std::int64_t step) const;

 private:
  [[nodiscard]] std::int64_t drops(std::int64_t epoch) const;

  TrainOptions options_;
  std::int64_t steps_per_epoch_;
  std::int64_t total_steps_;
  std::vector<std::int64_t> milestones_;
};

}  // namespace slicereduce
