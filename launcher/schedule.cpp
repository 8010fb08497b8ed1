#include "launcher/schedule.hpp"

#include <cmath>
#include <numbers>

namespace slicereduce {

Schedule::Schedule(const TrainOptions& options, std::int64_t steps_per_epoch)
    : options_(options),
      steps_per_epoch_(steps_per_epoch),
      total_steps_(options.steps > 0 ? options.steps : options.epochs * steps_per_epoch) {}

bool Schedule::ends_epoch(std::int64_t steps_done) const {
  return steps_done % steps_per_epoch_ == 0 || steps_done == total_steps_;
}

double Schedule::lr(std::int64_t step) const {
  const auto at = static_cast<double>(step);
  const double warmup = options_.warmup_epochs * static_cast<double>(steps_per_epoch_);
  if (at < warmup) {
    return options_.step.lr * (at + 1) / warmup;
  }
  if (options_.schedule == "cosine") {
    const double done = (at - warmup) / std::max(1.0, static_cast<double>(total_steps_) - warmup);
    return options_.step.lr * 0.5 * (1 + std::cos(std::numbers::pi * done));
  }
  if (options_.schedule == "step") {
    const std::int64_t drops = epoch(step) / 30;
    return options_.step.lr * std::pow(0.1, static_cast<double>(drops));
  }
  return options_.step.lr;
}

Mode Schedule::mode(std::int64_t step) const { return options_.mode_at(static_cast<double>(epoch(step))); }

double Schedule::ratio(std::int64_t step) const {
  return options_.ratio_at(static_cast<double>(epoch(step)));
}

}  // namespace slicereduce
