#include "launcher/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace slicereduce {

Schedule::Schedule(const TrainOptions& options, std::int64_t steps_per_epoch)
    : options_(options),
      steps_per_epoch_(steps_per_epoch),
      total_steps_(options.steps > 0 ? options.steps : options.epochs * steps_per_epoch),
      milestones_(parse_milestones(options.lr_milestones)) {}

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
    return options_.step.lr * std::pow(options_.lr_gamma, static_cast<double>(drops(epoch(step))));
  }
  return options_.step.lr;
}

std::int64_t Schedule::drops(std::int64_t epoch) const {
  constexpr std::int64_t kUsual = 30;
  return milestones_.empty()
             ? epoch / kUsual
             : std::ranges::count_if(milestones_, [&](std::int64_t milestone) { return epoch >= milestone; });
}

std::int64_t Schedule::image_size(std::int64_t step) const {
  return value_at<std::int64_t>(parse_size_schedule(options_.size_schedule), epoch(step), 0);
}

Mode Schedule::mode(std::int64_t step) const { return options_.mode_at(epoch(step)); }

double Schedule::ratio(std::int64_t step) const { return options_.ratio_at(epoch(step)); }

}  // namespace slicereduce
