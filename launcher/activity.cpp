#include "launcher/activity.hpp"

#include "core/text.hpp"

namespace slicereduce {

namespace {

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::starting:
      return "starting";
    case Phase::training:
      return "training";
    case Phase::saving:
      return "saving a checkpoint";
    case Phase::evaluating:
      break;
  }
  return "evaluating";
}

}  // namespace

std::string describe(const Beat& beat) {
  const std::string step = beat.step > 0 ? concat("step ", beat.step, ", ") : "";
  return concat(step, name_of(beat.phase), " for ", static_cast<std::int64_t>(beat.seconds), " s");
}

void Activity::enter(Phase phase) {
  const std::lock_guard lock(mutex_);
  phase_ = phase;
  since_ = Clock::now();
}

void Activity::at_step(std::int64_t step) {
  const std::lock_guard lock(mutex_);
  step_ = step;
  phase_ = Phase::training;
  since_ = Clock::now();
}

Beat Activity::beat() const {
  const std::lock_guard lock(mutex_);
  return {.step = step_,
          .seconds = std::chrono::duration<double>(Clock::now() - since_).count(),
          .phase = phase_};
}

}  // namespace slicereduce
