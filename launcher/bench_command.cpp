#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/device.hpp"
#include "launcher/auto_mode.hpp"
#include "launcher/bench_allreduce.hpp"
#include "launcher/bench_loader.hpp"
#include "launcher/command_line.hpp"
#include "launcher/commands.hpp"
#include "launcher/consensus.hpp"
#include "launcher/link_probe.hpp"
#include "launcher/reduction.hpp"
#include "launcher/resolved_options.hpp"
#include "launcher/slowest.hpp"
#include "launcher/step_timing.hpp"

namespace slicereduce {

namespace {

struct BenchOptions {
  NetworkOptions network;
  StepOptions step;
  double auto_ratio = 1;
  std::int64_t image_size = 224;
  std::int64_t classes = 1000;
  std::int64_t steps = 30;
  std::int64_t warmup = 5;
  bool json = false;

  [[nodiscard]] TrainOptions training() const {
    TrainOptions options{.network = network, .step = step};
    options.auto_ratio = auto_ratio;
    return options;
  }

  void validate() const {
    training().validate();
    if (image_size < 1 || classes < 2 || steps < 1 || warmup < 0) {
      throw Error(ErrorKind::usage,
                  "--image-size and --steps have to be positive, --classes at least 2, --warmup at least 0");
    }
  }
};

/// Collective. Puts a choice in the place of --mode auto, in `options`, which `command` parses into.
void settle_mode(CLI::App& command, BenchOptions& options, at::Device device, Communicator& communicator,
                 const Log& log) {
  const InputShape input{.channels = 3, .size = options.image_size, .classes = options.classes};
  const ModeChoice choice = choose_mode(options.training(), input, device, communicator, log);
  for (const std::string& reason : choice.reasons) {
    if (communicator.rank() == 0) {
      log.info(reason);
    }
  }
  set_options(command, choice.options);
}

/// `options` are what `command` has parsed into.
ExitCode bench_step(CLI::App& command, BenchOptions& options, const MpiSession& session,
                    MpiCommunicator& communicator, const Log& log) {
  at::Device device = at::kCPU;
  together(communicator, [&] {
    options.validate();
    if (!options.training().chooses_mode()) {
      constexpr int kSeveral = 2;  // one worker's times too are to predict those of several
      options.step.settle_reduction(kSeveral);
    }
    options.training().require_world(communicator.world_size());
    require_image_side(make_architecture(options.network.arch, 3, 10, options.network.dropout),
                       options.image_size);
    refuse_beside_auto(command);
    device = choose_device(parse_device_choice(options.step.device), session.local_rank());
    require_backend(options.step, device);
    make_current(device, parse_cudnn(options.step.cudnn));
  });
  require_same_options(command, communicator);
  at::set_num_threads(options.step.threads > 0 ? options.step.threads : session.default_threads());
  const auto timeout = reducer_config(options.network, options.step).timeout;
  options.step.hierarchy = settle_hierarchy(communicator, options.step.hierarchy, timeout).value;
  const auto on_device = make_device_communicator(communicator, options.step, device);
  Communicator& reductions = on_device ? *on_device : communicator;
  if (options.training().chooses_mode()) {
    settle_mode(command, options, device, reductions, log);
  }
  const TimedSteps steps{.network = options.network,
                         .step = options.step,
                         .image_size = options.image_size,
                         .classes = options.classes,
                         .warmup = options.warmup,
                         .steps = options.steps};
  const StepTiming timing = time_steps(steps, device, reductions);
  const auto of_slowest = [&](const std::string& name, double q = 0.5) {
    return timing.quantile_of_ranks(name, q, communicator);
  };
  const double step_ms = of_slowest("step_ms");
  nlohmann::ordered_json json{
      {"arch", options.network.arch},
      {"mode", options.network.mode},
      {"device", c10::DeviceTypeName(device.type(), /*lower_case=*/true)},
      {"sample_ratio", options.network.ratio(parse_mode(options.network.mode))},
      {"slice_output_ratio", options.network.slice_output_ratio},
      {"reduce", options.step.reduce},
      {"powersgd_rank", options.step.reduce == "powersgd" ? options.step.powersgd_rank : 0},
      {"overlap", options.step.overlap},
      {"bucket_mb", options.step.bucket_mb},
      {"backend", on_device && options.step.reduce != "powersgd" ? "nccl" : "mpi"},
      {"cuda_graph", timing.captured ? "on" : "off"},
      {"hierarchy", communicator.has_levels() ? options.step.hierarchy : "off"},
      {"precision", options.step.precision},
      {"wire", options.network.wire},
      {"world_size", communicator.world_size()},
      {"threads", at::get_num_threads()},
      {"batch_size", options.step.batch_size},
      {"accumulate", options.step.accumulate},
      {"image_size", options.image_size},
      {"steps", options.steps},
      {"step_ms", step_ms}};
  json["step_ms_p10"] = of_slowest("step_ms", 0.1);
  json["step_ms_p90"] = of_slowest("step_ms", 0.9);
  for (const char* part : kStepParts) {
    json[part] = of_slowest(part);
  }
  json["images_per_s"] =
      1e3 * static_cast<double>(options.step.images() * communicator.world_size()) / step_ms;
  json["wire_bytes"] = timing.wire_bytes;
  json["peak_memory_bytes"] =
      slowest_of_ranks({static_cast<double>(peak_memory_bytes())}, communicator).front();
  json["peak_device_memory_bytes"] =
      slowest_of_ranks({static_cast<double>(peak_device_memory_bytes(device))}, communicator).front();
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
  add_bench_loader(*bench, action);
  CLI::App* step = bench->add_subcommand("step", "A training step on synthetic images: medians of its parts");
  const auto o = std::make_shared<BenchOptions>();
  add_network_options(*step, o->network);
  add_auto_options(*step, o->auto_ratio);
  add_step_options(*step, o->step);
  step->add_option("--image-size", o->image_size, "Side of the image");
  step->add_option("--classes", o->classes, "Number of classes");
  step->add_option("--steps", o->steps, "Steps to measure");
  step->add_option("--warmup", o->warmup, "Steps before them");
  step->add_flag("--json", o->json, "One JSON object a line");
  step->callback([step, o, &action] {
    action = [step, o](Arguments arguments) {
      return on_all_ranks(arguments,
                          [&](const MpiSession& session, MpiCommunicator& communicator, const Log& log) {
                            return bench_step(*step, *o, session, communicator, log);
                          });
    };
  });
}

}  // namespace slicereduce
