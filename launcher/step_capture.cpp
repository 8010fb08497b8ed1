#include "launcher/step_capture.hpp"

#include "core/error.hpp"
#include "core/text.hpp"
#include "launcher/reduction.hpp"
#include "sampling/device_slices.hpp"

namespace slicereduce {

std::string obstacle_to_capture(const TrainOptions& options, const TrainingState& state,
                                const Communicator& reductions) {
  const at::Device device = state.network.device();
  if (options.step.reduce != "slices") {
    return concat("--reduce ", options.step.reduce);
  }
  if (options.step.accumulate > 1) {
    return "--accumulate";
  }
  if (options.on_disagreement == "broadcast") {
    return "--on-disagreement broadcast";
  }
  if (state.memory) {
    return "mode feedback";
  }
  if (!options.uses(Mode::compact) && !options.uses(Mode::dense)) {
    return "mode approximate";
  }
  if (options.uses(Mode::compact) && !state.planner.sampler().fixed_size()) {
    return concat("the sampler ", options.network.sampler, ", whose choices differ in size");
  }
  if (has_dropout(state.network.layout().steps)) {
    return "--dropout";
  }
  if (!device.is_cpu() && !kernels::serve(device)) {
    return "a build without kernels for its device";
  }
  if (reductions.world_size() > 1 && reductions.device() != device) {
    return "several workers that reduce in host memory (--backend nccl does not)";
  }
  return {};
}

std::unique_ptr<CapturedStep> make_captured_step(const TrainOptions& options, TrainingState& state,
                                                 const TrainingStepConfig& config, Communicator& reductions,
                                                 TrainingStep& otherwise) {
  const at::Device device = state.network.device();
  const bool insists = options.step.cuda_graph == "on";
  if (options.step.cuda_graph == "off" || (device.is_cpu() && !insists)) {
    return nullptr;
  }
  const std::string obstacle = obstacle_to_capture(options, state, reductions);
  if (!obstacle.empty() && insists) {
    throw Error(ErrorKind::usage, concat("--cuda-graph on: a step can't be captured with ", obstacle,
                                         "; use --cuda-graph auto"));
  }
  if (!obstacle.empty()) {
    return nullptr;
  }
  const bool finds_largest = options.uses(Mode::compact) && options.network.resample_every == 1 &&
                             options.network.size.channel_block == 1 &&
                             state.planner.sampler().keeps_largest();
  return std::make_unique<CapturedStep>(
      state.network, state.sgd, reductions,
      CapturedStepConfig{.step = config,
                         .reducer = reducer_config(options.network, options.step, device, reductions),
                         .finds_largest = finds_largest},
      otherwise);
}

}  // namespace slicereduce
