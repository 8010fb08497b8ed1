#include <ATen/Parallel.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "comm/gradient_reducer.hpp"
#include "core/device.hpp"
#include "core/text.hpp"
#include "launcher/bench_allreduce.hpp"
#include "launcher/commands.hpp"
#include "launcher/consensus.hpp"
#include "launcher/slowest.hpp"
#include "launcher/stopwatch.hpp"
#include "launcher/train_options.hpp"
#include "launcher/training_state.hpp"
#include "launcher/training_step.hpp"

namespace slicereduce {

namespace {

struct BenchOptions {
  NetworkOptions network;
  StepOptions step;
  std::int64_t image_size = 224;
  std::int64_t classes = 1000;
  std::int64_t steps = 30;
  std::int64_t warmup = 5;
  bool json = false;

  void validate() const {
    TrainOptions{.network = network, .step = step}.validate();
    if (image_size < 1 || classes < 2 || steps < 1 || warmup < 0) {
      throw Error(ErrorKind::usage,
                  "--image-size and --steps have to be positive, --classes at least 2, --warmup at least 0");
    }
  }
};

/// One value a step, by name.
using Series = std::map<std::string, std::vector<double>>;

/// Collective.
double largest(double value, Communicator& communicator) {
  return slowest_of_ranks({value}, communicator).front();
}

Series measure(const BenchOptions& options, at::Device device, Communicator& communicator,
               std::int64_t& wire_bytes) {
  constexpr std::uint64_t kSeed = 1;
  const Mode mode = parse_mode(options.network.mode);
  TrainOptions training{.network = options.network, .step = options.step};
  training.seed = kSeed;
  TrainingState state(training, 3, options.classes, device);
  const auto reducer = make_reducer(communicator, options.network, options.step, kSeed);
  TrainingStep step(state.network, state.sgd, *reducer, training_step_config(options.step), state.feedback());
  const std::int64_t side = options.image_size;
  const Microbatch batch{
      .images = at::randn({options.step.batch_size, 3, side, side})
                    .contiguous(at::MemoryFormat::ChannelsLast)
                    .to(device),
      .labels = at::randint(options.classes, {options.step.batch_size}, at::kLong).to(device),
      .weight = 1.0 / static_cast<double>(options.step.accumulate)};
  const std::vector<Microbatch> batches(options.step.accumulate, batch);
  Series series;
  for (std::int64_t i = 0; i < options.warmup + options.steps; ++i) {
    communicator.barrier();  // ranks start together, as data-parallel steps do
    Stopwatch whole(device);
    Stopwatch watch(device);
    const StepPlans plans = state.plans(i, mode, options.network.ratio(mode));
    const double plan_ms = watch.lap_ms();
    const auto result = step.run(plans, batches, options.step.lr);
    const double step_ms = whole.lap_ms();
    require(result.has_value(), "ranks drew different plans from the same weights");
    if (i < options.warmup) {
      continue;
    }
    wire_bytes = result->wire_bytes;
    series["step_ms"].push_back(step_ms);
    series["plan_ms"].push_back(plan_ms);
    series["gather_ms"].push_back(result->times.gather_ms);
    series["forward_ms"].push_back(result->times.forward_ms);
    series["backward_ms"].push_back(result->times.backward_ms);
    series["exposed_comm_ms"].push_back(result->times.exposed_comm_ms);
    series["comm_ms"].push_back(result->times.comm_ms);
    series["optimizer_ms"].push_back(result->times.optimizer_ms);
  }
  return series;
}

ExitCode bench_step(const BenchOptions& options, const MpiSession& session, Communicator& communicator) {
  at::Device device = at::kCPU;
  together(communicator, [&] {
    options.validate();
    device = choose_device(parse_device_choice(options.step.device), session.local_rank());
    make_current(device);
  });
  at::set_num_threads(options.step.threads > 0 ? options.step.threads : session.default_threads());
  std::int64_t wire_bytes = 0;
  const Series series = measure(options, device, communicator, wire_bytes);
  const double step_ms = largest(quantile(series.at("step_ms"), 0.5), communicator);
  nlohmann::ordered_json json{{"arch", options.network.arch},
                              {"mode", options.network.mode},
                              {"device", c10::DeviceTypeName(device.type(), /*lower_case=*/true)},
                              {"sample_ratio", options.network.ratio(parse_mode(options.network.mode))},
                              {"precision", options.step.precision},
                              {"wire", options.network.wire},
                              {"world_size", communicator.world_size()},
                              {"threads", at::get_num_threads()},
                              {"batch_size", options.step.batch_size},
                              {"accumulate", options.step.accumulate},
                              {"image_size", options.image_size},
                              {"steps", options.steps},
                              {"step_ms", step_ms}};
  json["step_ms_p10"] = largest(quantile(series.at("step_ms"), 0.1), communicator);
  json["step_ms_p90"] = largest(quantile(series.at("step_ms"), 0.9), communicator);
  for (const char* part :
       {"plan_ms", "gather_ms", "forward_ms", "backward_ms", "exposed_comm_ms", "comm_ms", "optimizer_ms"}) {
    json[part] = largest(quantile(series.at(part), 0.5), communicator);
  }
  json["images_per_s"] =
      1e3 * static_cast<double>(options.step.images() * communicator.world_size()) / step_ms;
  json["wire_bytes"] = wire_bytes;
  json["peak_memory_bytes"] = largest(static_cast<double>(peak_memory_bytes()), communicator);
  if (session.rank() == 0) {
    std::cout << (options.json ? json.dump() : json.dump(2)) << std::endl;
  }
  return ExitCode::done;
}

}  // namespace

void add_bench_command(CLI::App& program, Action& action) {
  CLI::App* bench = program.add_subcommand("bench", "Measurements");
  bench->require_subcommand(1);
  add_bench_allreduce(*bench, action);
  CLI::App* step = bench->add_subcommand("step", "A training step on synthetic images: medians of its parts");
  const auto o = std::make_shared<BenchOptions>();
  add_network_options(*step, o->network);
  add_step_options(*step, o->step);
  step->add_option("--image-size", o->image_size, "Side of the image");
  step->add_option("--classes", o->classes, "Number of classes");
  step->add_option("--steps", o->steps, "Steps to measure");
  step->add_option("--warmup", o->warmup, "Steps before them");
  step->add_flag("--json", o->json, "One JSON object a line");
  step->callback([o, &action] {
    action = [o](Arguments arguments) {
      return on_all_ranks(arguments, [&](const MpiSession& session, Communicator& communicator, const Log&) {
        return bench_step(*o, session, communicator);
      });
    };
  });
}

}  // namespace slicereduce
