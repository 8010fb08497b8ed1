#include "launcher/step_timing.hpp"

#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include <algorithm>

#include "comm/gradient_reducer.hpp"
#include "core/error.hpp"
#include "launcher/reduction.hpp"
#include "launcher/slowest.hpp"
#include "launcher/step_capture.hpp"
#include "launcher/stopwatch.hpp"
#include "launcher/training_state.hpp"
#include "launcher/training_step.hpp"

namespace slicereduce {

namespace {

constexpr std::uint64_t kSeed = 1;

std::vector<Microbatch> random_batches(const TimedSteps& what, at::Device device) {
  const std::int64_t side = what.image_size;
  const Microbatch batch{.images = at::randn({what.step.batch_size, what.in_channels, side, side})
                                       .contiguous(at::MemoryFormat::ChannelsLast)
                                       .to(device),
                         .labels = at::randint(what.classes, {what.step.batch_size}, at::kLong).to(device),
                         .weight = 1.0 / static_cast<double>(what.step.accumulate)};
  return std::vector<Microbatch>(what.step.accumulate, batch);
}

}  // namespace

double StepTiming::quantile_of_ranks(const std::string& name, double q, Communicator& communicator) const {
  return quantile(slowest_of_ranks(ms.at(name), communicator), q);
}

StepTiming time_steps(const TimedSteps& what, at::Device device, Communicator& communicator) {
  const Mode mode = parse_mode(what.network.mode);
  TrainOptions training{.network = what.network, .step = what.step};
  training.seed = kSeed;
  TrainingState state(training, what.in_channels, what.classes, device);
  const auto reducer = make_reducer(communicator, what.network, what.step, device, kSeed);
  const TrainingStepConfig config = training_step_config(what.step);
  TrainingStep step(state.network, state.sgd, *reducer, config, state.feedback());
  const auto captured = make_captured_step(training, state, config, communicator, step);
  const std::vector<Microbatch> batches = random_batches(what, device);
  const std::int64_t warmup = captured ? std::max(what.warmup, CapturedStep::kStepsBefore) : what.warmup;
  // A captured step has come to its end when run() comes back: to wait for the device would be one wait more.
  const at::Device waited_for = captured ? at::Device(at::kCPU) : device;
  StepTiming timing;
  timing.captured = captured != nullptr;
  communicator.barrier();
  for (std::int64_t i = 0; i < warmup + what.steps; ++i) {
    Stopwatch whole(waited_for);
    Stopwatch watch(waited_for);
    const StepPlans plans =
        state.plans(i, mode, what.network.ratio(mode), captured ? captured->largest() : nullptr);
    const double plan_ms = watch.lap_ms();
    const auto result =
        captured ? captured->run(plans, batches, what.step.lr) : step.run(plans, batches, what.step.lr);
    const double step_ms = whole.lap_ms();
    require(result.has_value(), "ranks drew different plans from the same weights");
    if (i < warmup) {
      continue;
    }
    timing.wire_bytes = result->wire_bytes;
    const StepTimes& parts = result->times;
    const std::array values{plan_ms,           parts.gather_ms,       parts.forward_ms,
                            parts.backward_ms, parts.exposed_comm_ms, parts.comm_ms,
                            parts.optimizer_ms};
    timing.ms["step_ms"].push_back(step_ms);
    for (std::size_t part = 0; part < values.size(); ++part) {
      timing.ms[kStepParts[part]].push_back(values[part]);
    }
  }
  return timing;
}

}  // namespace slicereduce
