#pragma once

#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "launcher/captured_step.hpp"
#include "launcher/train_options.hpp"
#include "launcher/training_state.hpp"

namespace slicereduce {

/// What keeps the steps of a run from being captured, in words; empty where nothing does.
[[nodiscard]] std::string obstacle_to_capture(const TrainOptions& options, const TrainingState& state,
                                              const Communicator& reductions);

/// As --cuda-graph has it: nothing where it is off, or on its own and there is an obstacle or no CUDA device.
/// Throws Error(usage) where it is on and there is an obstacle. All must outlive it; see CapturedStep.
[[nodiscard]] std::unique_ptr<CapturedStep> make_captured_step(const TrainOptions& options,
                                                               TrainingState& state,
                                                               const TrainingStepConfig& config,
                                                               Communicator& reductions,
                                                               TrainingStep& otherwise);

}  // namespace slicereduce
