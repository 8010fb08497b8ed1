#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <system_error>
#include <utility>
#include <variant>

#include "comm/link_model.hpp"
#include "comm/wire.hpp"
#include "core/text.hpp"
#include "launcher/command_line.hpp"
#include "launcher/commands.hpp"
#include "launcher/mode.hpp"
#include "launcher/plan_figures.hpp"
#include "launcher/reduction.hpp"
#include "launcher/resolved_options.hpp"
#include "launcher/step_prediction.hpp"
#include "launcher/typical_step.hpp"
#include "models/cost.hpp"

namespace slicereduce {

namespace {

constexpr std::array kSweptGbit{0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0};
constexpr std::array<std::int64_t, 6> kSweptWorldSizes{2, 4, 8, 16, 32, 64};

struct SweptLink {
  double gbit = 0;
  double latency_us = 0;
};

/// "1" or "1:300": Gbit/s, and microseconds where they are not `latency_us`.
SweptLink parse_swept_link(const std::string& text, double latency_us) {
  SweptLink link{.latency_us = latency_us};
  const char* const end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, link.gbit);
  if (read.ec == std::errc{} && read.ptr != end && *read.ptr == ':') {
    read = std::from_chars(read.ptr + 1, end, link.latency_us);
  }
  const bool is_whole = read.ec == std::errc{} && read.ptr == end;
  if (!is_whole || !(std::isfinite(link.gbit) && link.gbit > 0) ||
      !(std::isfinite(link.latency_us) && link.latency_us >= 0)) {
    throw Error(ErrorKind::usage, concat("'", text,
                                         "': expected Gbit/s above 0, and where it is not --latency-us a "
                                         "colon and microseconds, such as 1:300 (--sweep-links)"));
  }
  return link;
}

struct PlanOptions {
  NetworkOptions network;
  StepOptions step;
  std::int64_t image_size = 0;
  std::int64_t classes = 0;
  std::int64_t in_channels = 3;
  int world_size = 4;
  double link_gbit = 10;
  double latency_us = 50;
  std::int64_t ranks_per_node = 1;
  double node_gbit = 40;
  std::string measured;
  std::string measured_dense;
  bool fixed_buckets = false;  ///< --bucket-mb was given
  std::vector<double> compare;
  bool sweep = false;
  std::vector<std::string> sweep_links;
  bool plot = false;
  std::string colour = "auto";
  std::string run;
  bool json = false;

  [[nodiscard]] bool has_colour() const {
    // https://no-color.org
    const bool may =
        std::getenv("NO_COLOR") == nullptr && ::isatty(STDOUT_FILENO) == 1;  // NOLINT(concurrency-mt-unsafe)
    return colour == "always" || (colour == "auto" && may);
  }

  [[nodiscard]] std::vector<SweptLink> swept_links() const {
    std::vector<SweptLink> links;
    for (const std::string& text : sweep_links) {
      links.push_back(parse_swept_link(text, latency_us));
    }
    if (sweep_links.empty()) {
      for (const double gbit : kSweptGbit) {
        links.push_back({.gbit = gbit, .latency_us = latency_us});
      }
    }
    return links;
  }

  void validate() const {
    TrainOptions{.network = network, .step = step}.validate();
    if (image_size < 0 || classes < 0 || in_channels < 1) {
      throw Error(ErrorKind::usage, "--image-size, --classes and --in-channels have to be positive");
    }
    if (world_size < 1 || ranks_per_node < 1 || !(link_gbit > 0) || !(node_gbit > 0) || !(latency_us >= 0)) {
      throw Error(ErrorKind::usage,
                  "--world-size, --ranks-per-node, --link-gbit and --node-gbit have to be positive, "
                  "--latency-us at least 0");
    }
    if (!measured_dense.empty() && measured.empty()) {
      throw Error(ErrorKind::usage, "--measured-dense needs the configuration's own times (--measured)");
    }
    if (!compare.empty() && parse_mode(network.mode) == Mode::dense) {
      throw Error(ErrorKind::usage,
                  "--compare: mode dense leaves nothing out; expected another --mode, such as compact");
    }
    (void)swept_links();
    if (colour != "auto" && colour != "always" && colour != "never") {
      throw Error(ErrorKind::usage, concat("'", colour, "': expected one of auto, always, never (--color)"));
    }
  }
};

Cluster cluster_of(const PlanOptions& options) {
  return {.link = {.bytes_per_s = options.link_gbit * 1e9 / 8, .latency_s = options.latency_us * 1e-6},
          .ranks_per_node = options.ranks_per_node,
          .node_bytes_per_s = options.node_gbit * 1e9 / 8};
}

double allreduce_ms(const PlanOptions& options, double bytes) {
  return 1e3 * allreduce_s(bytes, options.world_size, cluster_of(options));
}

std::int64_t number_bytes(const PlanOptions& options) {
  return static_cast<std::int64_t>(wire_size(parse_wire_type(options.network.wire)));
}

double wire_bytes(const PlanOptions& options, const LayerCost& cost) {
  return static_cast<double>(cost.numel * number_bytes(options));
}

/// Steps of a configuration whose compute was measured.
class Predictor {
 public:
  /// `layers` must outlive it.
  Predictor(const PlanOptions& options, const std::vector<LayerCost>& layers)
      : layers_(layers),
        ours_(read_step_compute(options.measured)),
        dense_(options.measured_dense.empty() ? ours_ : read_step_compute(options.measured_dense)),
        bucket_mb_(options.fixed_buckets ? options.step.bucket_mb : 0) {
    const ReducerConfig config = reducer_config(options.network, options.step);
    sending_ = {.wire = config.wire, .capacity = config.capacity()};
  }

  [[nodiscard]] std::vector<StepPrediction> steps(const Cluster& cluster,
                                                  std::span<const std::int64_t> world_sizes) const {
    return predict_steps(layers_, sending_, ours_, dense_, cluster, world_sizes, bucket_mb_);
  }
  [[nodiscard]] BreakEven worth_it(const Cluster& cluster, std::int64_t world_size) const {
    return break_even(layers_, sending_, ours_, dense_, cluster, world_size, bucket_mb_);
  }

 private:
  const std::vector<LayerCost>& layers_;
  Sending sending_;
  StepCompute ours_;
  StepCompute dense_;
  double bucket_mb_;
};

PlanFigures network_figures(const PlanOptions& options, std::vector<LayerCost> layers) {
  PlanFigures figures{.arch = options.network.arch, .wire = options.network.wire};
  figures.layers = std::move(layers);
  figures.number_bytes = number_bytes(options);
  figures.world_size = options.world_size;
  figures.ranks_per_node = options.ranks_per_node;
  figures.link_gbit = options.link_gbit;
  figures.latency_us = options.latency_us;
  const LayerCost total = total_cost(figures.layers);
  const double dense_bytes = 4.0 * static_cast<double>(total.dense_numel);
  figures.allreduce_ms = allreduce_ms(options, wire_bytes(options, total));
  figures.dense_bf16_allreduce_ms = allreduce_ms(options, dense_bytes / 2);
  figures.dense_fp32_allreduce_ms = allreduce_ms(options, dense_bytes);
  return figures;
}

/// --compare
std::vector<RatioCost> ratio_costs(PlanOptions options, const Layout& layout) {
  std::vector<RatioCost> ratios;
  for (const double ratio : options.compare) {
    options.network.size.ratio = ratio;
    options.validate();
    const TypicalStep typical(options.network, layout);
    const LayerCost total = total_cost(typical.costs(options.step, options.image_size));
    ratios.push_back(
        {.ratio = ratio, .total = total, .allreduce_ms = allreduce_ms(options, wire_bytes(options, total))});
  }
  return ratios;
}

/// --sweep, where compute was not measured.
std::vector<SweepCell> sweep_allreduces(PlanOptions options, const LayerCost& total) {
  std::vector<SweepCell> cells;
  for (const auto& [gbit, latency_us] : options.swept_links()) {
    options.link_gbit = gbit;
    options.latency_us = latency_us;
    for (const std::int64_t ranks : kSweptWorldSizes) {
      options.world_size = static_cast<int>(ranks);
      cells.push_back({.link_gbit = gbit,
                       .latency_us = latency_us,
                       .world_size = ranks,
                       .ours_ms = allreduce_ms(options, wire_bytes(options, total)),
                       .ddp_ms = allreduce_ms(options, 2.0 * static_cast<double>(total.dense_numel))});
    }
  }
  return cells;
}

/// The same where it was.
std::vector<SweepCell> sweep_steps(PlanOptions options, const Predictor& predictor) {
  std::vector<SweepCell> cells;
  for (const auto& [gbit, latency_us] : options.swept_links()) {
    options.link_gbit = gbit;
    options.latency_us = latency_us;
    for (const StepPrediction& step : predictor.steps(cluster_of(options), kSweptWorldSizes)) {
      cells.push_back({.link_gbit = gbit,
                       .latency_us = latency_us,
                       .world_size = step.world_size,
                       .ours_ms = step.ours_ms,
                       .ddp_ms = step.ddp_ms});
    }
  }
  return cells;
}

void add_predictions(const PlanOptions& options, PlanFigures& figures) {
  if (options.measured.empty()) {
    if (options.sweep) {
      figures.sweep = sweep_allreduces(options, total_cost(figures.layers));
    }
    return;
  }
  const Predictor predictor(options, figures.layers);
  std::vector<std::int64_t> world_sizes;
  for (std::int64_t ranks = 2; ranks <= 1024; ranks *= 2) {
    world_sizes.push_back(ranks);
  }
  figures.predictions = predictor.steps(cluster_of(options), world_sizes);
  figures.sweeps_steps = options.sweep;
  if (options.sweep) {
    figures.sweep = sweep_steps(options, predictor);
  }
  if (options.measured_dense.empty()) {
    return;  // with DDP taken to compute as this configuration does, it would be of its bytes alone
  }
  for (const std::int64_t ranks : kSweptWorldSizes) {
    figures.worth_it.push_back({.world_size = ranks, .at = predictor.worth_it(cluster_of(options), ranks)});
  }
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) {
    throw Error(ErrorKind::input,
                concat("cannot read ", path.string(), ": expected the folder of a run (--run)"));
  }
  return text.str();
}

/// "0:compact,80:feedback" -> "feedback"
std::string last_of_schedule(const std::string& schedule) { return schedule.substr(schedule.rfind(':') + 1); }

/// What a run in `folder` was told, and what it has found: for options that `command` was not given.
std::map<std::string, std::string> options_of_run(const std::filesystem::path& folder) {
  auto options = options_of_config(text_of(folder / "config.toml"), "train");
  for (const auto& [schedule, option] :
       {std::pair("--mode-schedule", "--mode"), std::pair("--ratio-schedule", "--sample-ratio")}) {
    if (const auto found = options.find(schedule); found != options.end()) {
      options[option] = last_of_schedule(found->second);
    }
  }
  if (std::filesystem::exists(folder / "summary.json")) {
    const auto summary = nlohmann::json::parse(text_of(folder / "summary.json"), nullptr, false);
    for (const auto& [key, option] :
         {std::pair("image_size", "--image-size"), std::pair("in_channels", "--in-channels"),
          std::pair("num_classes", "--classes"), std::pair("world_size", "--world-size")}) {
      if (summary.is_object() && summary.contains(key)) {
        options[option] = summary.at(key).dump();
      }
    }
  }
  return options;
}

void take_from_run(CLI::App& command, const std::filesystem::path& folder) {
  auto options = options_of_run(folder);
  std::erase_if(options, [&](const auto& value) {
    const CLI::Option* option = command.get_option_no_throw(value.first);
    return option == nullptr || option->count() > 0;
  });
  set_options(command, options);
}

/// What is left to the network: sizes of its usual images.
void settle_images(PlanOptions& options) {
  const Architecture architecture = make_architecture(options.network.arch, 3, 10, options.network.dropout);
  const bool small =
      architecture.image_side.has_value() || std::ranges::none_of(architecture.parts, [](const Part& part) {
        return std::holds_alternative<MaxPool>(part.kind);
      });
  if (options.image_size == 0) {
    options.image_size = architecture.image_side.value_or(small ? 32 : 224);
  }
  require_image_side(architecture, options.image_size);
  if (options.classes == 0) {
    options.classes = small ? 10 : 1000;
  }
}

ExitCode print_plan(PlanOptions options) {
  options.validate();
  options.step.settle_reduction(options.world_size);
  settle_images(options);
  const Layout layout = options.network.layout(options.in_channels, options.classes);
  const TypicalStep typical(options.network, layout);
  PlanFigures figures = network_figures(options, typical.costs(options.step, options.image_size));
  figures.image_size = options.image_size;
  figures.exact = typical.is_exact();
  figures.ratios = ratio_costs(options, layout);
  add_predictions(options, figures);
  if (options.json) {
    std::cout << to_json(figures).dump(2) << '\n';
  } else {
    print_text(figures, {.colour = options.has_colour(), .bars = options.plot}, std::cout);
  }
  return ExitCode::done;
}

}  // namespace

void add_plan_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "plan", "What a configuration saves, layer by layer; needs no data and no other worker");
  const auto o = std::make_shared<PlanOptions>();
  add_network_options(*command, o->network);
  add_reduction_options(*command, o->step);
  command->add_option("--image-size", o->image_size,
                      "Side of the image; 0: 224, or 32 or 28 for networks of small images");
  command->add_option("--classes", o->classes,
                      "Number of classes; 0: 1000, or 10 for networks of small images");
  command->add_option("--in-channels", o->in_channels, "Colours of an image");
  command->add_option("--world-size", o->world_size, "Workers, for the AllReduce's time");
  command->add_option("--link-gbit", o->link_gbit, "Each node's link, in Gbit/s");
  command->add_option("--latency-us", o->latency_us, "From one node to the next, in microseconds");
  command->add_option("--ranks-per-node", o->ranks_per_node,
                      "Workers that share a node and its link; above 1, AllReduce in two levels");
  command->add_option("--node-gbit", o->node_gbit, "From one worker to another on its node, in Gbit/s");
  command->add_option(
      "--measured", o->measured,
      "What `bench step --json` printed for this configuration: predict steps with its times");
  command->add_option(
      "--measured-dense", o->measured_dense,
      "The same of the dense network, for DDP; without it DDP gets this configuration's times");
  command
      ->add_option("--compare", o->compare, "The same with other sample ratios, a line each: 0.5,0.33,0.25")
      ->delimiter(',');
  command->add_flag("--sweep", o->sweep,
                    "How much faster than DDP with its bf16 hook, by bandwidth and number of workers: the "
                    "AllReduce, or with --measured the step");
  command
      ->add_option("--sweep-links", o->sweep_links,
                   "The links of --sweep: Gbit/s, or Gbit/s:microseconds where it is not --latency-us: "
                   "0.1:500,1:300,10")
      ->delimiter(',');
  command->add_flag("--plot", o->plot, "With a bar for each layer: its bytes, and those that are sent");
  command->add_option("--color", o->colour, "auto: on a terminal, unless NO_COLOR is set; always; never");
  command->add_option("--run", o->run,
                      "Folder of a run, for its options where they are not given here; with its summary.json "
                      "also its images and workers");
  command->add_flag("--json", o->json, "One JSON object");
  command->callback([command, o, &action] {
    o->sweep = o->sweep || !o->sweep_links.empty();
    o->fixed_buckets = command->get_option("--bucket-mb")->count() > 0;
    if (!o->run.empty()) {
      take_from_run(*command, o->run);
    }
    action = [o](Arguments) { return print_plan(*o); };
  });
}

}  // namespace slicereduce
