#include <CLI/CLI.hpp>
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <variant>

#include "comm/link_model.hpp"
#include "comm/wire.hpp"
#include "core/text.hpp"
#include "core/units.hpp"
#include "launcher/command_line.hpp"
#include "launcher/commands.hpp"
#include "launcher/reduction.hpp"
#include "launcher/step_prediction.hpp"
#include "launcher/typical_step.hpp"
#include "models/cost.hpp"

namespace slicereduce {

namespace {

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
  bool json = false;

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

/// From 2 to 1,024 workers, where compute was measured.
std::vector<StepPrediction> predictions(const PlanOptions& options, const std::vector<LayerCost>& layers) {
  if (options.measured.empty()) {
    return {};
  }
  const ReducerConfig config = reducer_config(options.network, options.step);
  const Sending sending{.wire = config.wire, .capacity = config.capacity()};
  const StepCompute ours = read_step_compute(options.measured);
  const StepCompute dense = options.measured_dense.empty() ? ours : read_step_compute(options.measured_dense);
  std::vector<std::int64_t> world_sizes;
  for (std::int64_t ranks = 2; ranks <= 1024; ranks *= 2) {
    world_sizes.push_back(ranks);
  }
  return predict_steps(layers, sending, ours, dense, cluster_of(options), world_sizes,
                       options.fixed_buckets ? options.step.bucket_mb : 0);
}

nlohmann::ordered_json to_json(const LayerCost& cost, std::int64_t number_bytes) {
  return {{"name", cost.name},
          {"wire_bytes", cost.numel * number_bytes},
          {"dense_bytes", cost.dense_numel * 4},
          {"flops", cost.flops},
          {"dense_flops", cost.dense_flops}};
}

void print_row(const std::string& name, double wire, double dense, double flops, double dense_flops) {
  std::cout << std::left << std::setw(26) << name << std::right << std::setw(10) << format_bytes(wire)
            << std::setw(10) << format_bytes(dense) << std::setw(8) << std::setprecision(3) << std::fixed
            << wire / dense << std::setw(10) << format_count(flops) << std::setw(10)
            << format_count(dense_flops) << std::setw(8) << flops / dense_flops << '\n';
}

void print_table(const PlanOptions& options, const std::vector<LayerCost>& layers,
                 std::int64_t number_bytes) {
  std::cout << std::left << std::setw(26) << "layer" << std::right << std::setw(10) << "wire" << std::setw(10)
            << "dense" << std::setw(8) << "of it" << std::setw(10) << "FLOPs" << std::setw(10) << "dense"
            << std::setw(8) << "of it" << '\n';
  const auto row = [&](const LayerCost& cost) {
    print_row(cost.name, static_cast<double>(cost.numel * number_bytes),
              4.0 * static_cast<double>(cost.dense_numel), static_cast<double>(cost.flops),
              static_cast<double>(cost.dense_flops));
  };
  for (const auto& layer : layers) {
    row(layer);
  }
  const LayerCost total = total_cost(layers);
  row(total);
  const double dense_bytes = 4.0 * static_cast<double>(total.dense_numel);
  const auto wire_bytes = static_cast<double>(total.numel * number_bytes);
  std::cout << "\nwire: what a worker hands to AllReduce in a step, in " << options.network.wire
            << "; dense: every gradient in fp32. FLOPs: of one image's forward pass.\n"
            << "AllReduce over " << options.world_size << " workers, " << options.ranks_per_node
            << " a node, at " << std::setprecision(1) << options.link_gbit << " Gbit/s, "
            << options.latency_us << " us: " << allreduce_ms(options, wire_bytes) << " ms; dense bf16 "
            << allreduce_ms(options, dense_bytes / 2) << " ms; dense fp32 "
            << allreduce_ms(options, dense_bytes) << " ms\n";
}

void print_predictions(const PlanOptions& options, const std::vector<StepPrediction>& steps) {
  std::cout << "\nA step, predicted from measured compute and links of " << options.link_gbit << " Gbit/s:\n"
            << std::setw(10) << "workers" << std::setw(14) << "ours, ms" << std::setw(14) << "buckets, MB"
            << std::setw(18) << "DDP bf16, ms" << std::setw(10) << "faster" << '\n';
  for (const auto& step : steps) {
    std::cout << std::setw(10) << step.world_size << std::setprecision(1) << std::fixed << std::setw(14)
              << step.ours_ms << std::setw(14) << std::setprecision(2) << step.bucket_mb << std::setw(18)
              << std::setprecision(1) << step.ddp_ms << std::setprecision(2) << std::setw(9)
              << step.ddp_ms / step.ours_ms << "x\n";
  }
}

ExitCode print_plan(PlanOptions options) {
  options.validate();
  options.step.settle_reduction(options.world_size);
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
  const Layout layout = options.network.layout(options.in_channels, options.classes);
  const TypicalStep typical(options.network, layout);
  const auto layers = typical.costs(options.step, options.image_size);
  const auto steps = predictions(options, layers);
  const auto number_bytes = static_cast<std::int64_t>(wire_size(parse_wire_type(options.network.wire)));
  const bool exact = typical.is_exact();
  if (!options.json) {
    print_table(options, layers, number_bytes);
    if (!steps.empty()) {
      print_predictions(options, steps);
    }
    if (!exact) {
      std::cout
          << "Steps differ: the sampler keeps another number of channels each time, or groups of rows are "
             "not of one size. These figures are of k channels and the largest group.\n";
    }
    return ExitCode::done;
  }
  nlohmann::ordered_json json{{"arch", options.network.arch},
                              {"image_size", options.image_size},
                              {"exact", exact},
                              {"layers", nlohmann::ordered_json::array()}};
  for (const auto& layer : layers) {
    json["layers"].push_back(to_json(layer, number_bytes));
  }
  json["total"] = to_json(total_cost(layers), number_bytes);
  const double dense_bytes = json["total"]["dense_bytes"].get<double>();
  json["total"]["allreduce_ms"] = allreduce_ms(options, json["total"]["wire_bytes"].get<double>());
  json["total"]["dense_bf16_allreduce_ms"] = allreduce_ms(options, dense_bytes / 2);
  json["total"]["dense_fp32_allreduce_ms"] = allreduce_ms(options, dense_bytes);
  for (const auto& step : steps) {
    json["predictions"].push_back({{"world_size", step.world_size},
                                   {"step_ms", step.ours_ms},
                                   {"bucket_mb", step.bucket_mb},
                                   {"ddp_bf16_step_ms", step.ddp_ms}});
  }
  std::cout << json.dump(2) << '\n';
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
  command->add_flag("--json", o->json, "One JSON object");
  command->callback([command, o, &action] {
    o->fixed_buckets = command->get_option("--bucket-mb")->count() > 0;
    action = [o](Arguments) { return print_plan(*o); };
  });
}

}  // namespace slicereduce
