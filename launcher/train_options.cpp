#include "launcher/train_options.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "comm/low_rank_reducer.hpp"
#include "comm/wire.hpp"
#include "core/device.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "launcher/injected_faults.hpp"
#include "launcher/reduction.hpp"

namespace slicereduce {

namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& expected, const std::string& option) {
  throw Error(ErrorKind::usage, concat(what, ": expected ", expected, " (", option, ")"));
}

void at_least(double value, double least, const std::string& name, const std::string& option) {
  if (!(value >= least) || std::isinf(value)) {
    refuse(concat(name, " = ", value), concat("at least ", least), option);
  }
}

void between(double value, double least, double most, const std::string& name, const std::string& option) {
  if (!(value >= least && value <= most)) {
    refuse(concat(name, " = ", value), concat("at least ", least, " and at most ", most), option);
  }
}

void above_zero(double value, const std::string& name, const std::string& option) {
  if (!(value > 0) || std::isinf(value)) {
    refuse(concat(name, " = ", value), "a number above 0", option);
  }
}

void one_of(const std::string& value, const std::vector<std::string>& choices, const std::string& option) {
  std::string list;
  for (const auto& choice : choices) {
    if (value == choice) {
      return;
    }
    list += (list.empty() ? "" : ", ") + choice;
  }
  refuse(concat("'", value, "'"), concat("one of ", list), option);
}

}  // namespace

void NetworkOptions::validate() const {
  (void)make_architecture(arch, 3, 10, dropout);
  (void)parse_mode(mode);
  (void)parse_coupling(coupling);
  (void)parse_wire_type(wire);
}

void NetworkOptions::validate(Mode used) const {
  constexpr double kRounding = 0.1;  // 0.33 means a third
  constexpr double kLeast = 1.0 / 1024;
  if (!(slice_output_ratio >= kLeast && slice_output_ratio <= 1) ||
      std::abs(1 / slice_output_ratio - static_cast<double>(row_groups())) > kRounding) {
    refuse(concat("slice_output_ratio = ", slice_output_ratio), "1, 1/2, 1/3 and so on to 1/1024",
           "--slice-output-ratio");
  }
  sampling(used).validate();
  if (used == Mode::approximate) {
    validate_products();
  }
  one_of(join, {"as_they_are", "zero"}, "--join");
  if (used == Mode::compact && join == "zero" && !make_sampler(sampling(used).sampler)->settles()) {
    refuse(concat("'", join, "' with sampler ", sampling(used).sampler,
                  ", whose channels take turns: what waits for its turn would be lost"),
           "as_they_are, or a sampler that settles (topk, anneal, adaptive, narrow)", "--join");
  }
  if (used == Mode::feedback && !make_sampler(sampling(used).sampler)->counts_draws()) {
    refuse(concat("'", sampler, "' may never send what it does not choose, in mode feedback"),
           "auto, aged or cyclic", "--sampler");
  }
}

void NetworkOptions::validate_products() const {
  one_of(approximate, {"forward", "black_box", "backward"}, "--approximate");
  for (const auto& [ratio, option] : {std::pair(input_gradient_ratio, "--input-gradient-ratio"),
                                      std::pair(weight_gradient_ratio, "--weight-gradient-ratio")}) {
    if (!(ratio >= 0 && ratio <= 1)) {
      refuse(concat("'", ratio, "'"), "at least 0 and at most 1", option);
    }
    if (ratio != 0 && approximate != "backward") {
      refuse(concat("'", ratio, "' with --approximate ", approximate), "--approximate backward beside it",
             option);
    }
  }
  if (approximate == "backward" && term_norms == "weights" && weight_gradient_ratio != 1) {
    refuse(
        "'weights': the gradient to weights is a product without weights in it, with --approximate backward",
        "both or subset, or --weight-gradient-ratio 1 beside it", "--term-norms");
  }
  constexpr double kSome = 0.5;  // at 1 there is nothing to check, and a schedule may have others
  products(kSome).validate();
}

ProductApproximation NetworkOptions::products(double ratio) const {
  Approximation approximation{.sampler = make_sampler(sampling(Mode::approximate).sampler),
                              .size = size,
                              .norms = parse_term_norms(term_norms)};
  approximation.size.channel_block = 1;  // terms are no channels of a layout
  const auto of_ratio = [&](double own) -> std::optional<Approximation> {
    approximation.size.ratio = own != 0 ? own : ratio;
    return approximation.size.ratio == 1 ? std::nullopt : std::optional(approximation);
  };
  if (approximate == "backward") {
    return {.forward = {},
            .input_gradient = of_ratio(input_gradient_ratio),
            .weight_gradient = of_ratio(weight_gradient_ratio)};
  }
  return {.forward = of_ratio(0),
          .gradient_of_all = approximate == "black_box",
          .input_gradient = {},
          .weight_gradient = {}};
}

void NetworkOptions::leave_nothing_out() {
  const NetworkOptions standard;
  mode = "dense";
  slice_output_ratio = standard.slice_output_ratio;
  size = standard.size;
  resample_every = standard.resample_every;
  coupling = standard.coupling;
  if (sampler == "anneal") {
    anneal_steps = standard.anneal_steps;
  }
  sampler = standard.sampler;
}

double NetworkOptions::ratio(Mode used) const {
  constexpr double kHalf = 0.5;
  constexpr double kQuarter = 0.25;
  if (used == Mode::dense) {
    return 1;
  }
  if (size.ratio != 0) {
    return size.ratio;
  }
  return used == Mode::feedback ? kQuarter : kHalf;
}

std::int64_t NetworkOptions::row_groups() const { return std::llround(1 / slice_output_ratio); }

SamplingConfig NetworkOptions::sampling(Mode used) const {
  const bool cuts_rows = used == Mode::feedback;
  SampleSize own_size = size;
  own_size.ratio = ratio(used);
  return {.sampler = sampler != "auto"        ? sampler
                     : used == Mode::feedback ? "aged"
                                              : "topk",
          .size = own_size,
          .resample_every = resample_every,
          .anneal_steps = anneal_steps,
          .row_groups = cuts_rows ? row_groups() : 1};
}

Layout NetworkOptions::layout(std::int64_t in_channels, std::int64_t num_classes) const {
  return make_layout(make_architecture(arch, in_channels, num_classes, dropout), parse_coupling(coupling),
                     sample_classifier);
}

void StepOptions::validate() const {
  between(static_cast<double>(batch_size), 1, 1e6, "batch_size", "--batch-size");
  between(static_cast<double>(accumulate), 1, 1e6, "accumulate", "--accumulate");
  above_zero(lr, "lr", "--lr");
  sgd.validate();
  if (!(label_smoothing >= 0 && label_smoothing < 1)) {
    refuse(concat("label_smoothing = ", label_smoothing), "0 <= label_smoothing < 1", "--label-smoothing");
  }
  (void)parse_precision(precision);
  (void)parse_device_choice(device);
  one_of(reduce, {"auto", "slices", "dense", "powersgd"}, "--reduce");
  LowRankConfig{.rank = powersgd_rank}.validate();
  above_zero(bucket_mb, "bucket_mb", "--bucket-mb");
  one_of(overlap, {"on", "off"}, "--overlap");
  one_of(backend, {"auto", "nccl", "mpi"}, "--backend");
  one_of(cuda_graph, {"auto", "on", "off"}, "--cuda-graph");
  (void)parse_cudnn(cudnn);
  if (backend == "nccl" && reduce == "powersgd") {
    throw Error(
        ErrorKind::usage,
        "--backend nccl --reduce powersgd: factors are made and reduced in host memory; use --backend "
        "mpi, or --reduce slices");
  }
  validate_hierarchy(hierarchy);
  (void)parse_timeout(timeout_s);
  between(threads, 0, 4096, "threads", "--threads");
}

void StepOptions::settle_reduction(int world_size) {
  if (reduce == "auto") {
    reduce = world_size > 1 && backend != "nccl" ? "powersgd" : "slices";
  }
}

void TrainOptions::validate() const {
  validate_auto();
  if (chooses_mode()) {
    TrainOptions others = *this;
    others.network.leave_nothing_out();
    others.step.powersgd_rank = kDefaultPowersgdRank;
    others.auto_ratio = 1;
    others.validate();
    return;
  }
  network.validate();
  step.validate();
  reducer_config(network, step).validate();
  one_of(dataset, {"auto", "imagefolder", "cifar10", "mnist", "webdataset"}, "--dataset");
  between(static_cast<double>(global_batch_size), 0, 1e12, "global_batch_size", "--global-batch-size");
  if (global_batch_size > 0 && step.accumulate != 1) {
    refuse(concat("accumulate = ", step.accumulate,
                  " beside --global-batch-size, which says how many images a "
                  "worker accumulates"),
           "1", "--accumulate");
  }
  at_least(static_cast<double>(image_size), 0, "image_size", "--image-size");
  one_of(decode, {"needed", "whole"}, "--decode");
  one_of(bad_images, {"error", "skip"}, "--bad-images");
  between(workers, 0, 1024, "workers", "--workers");
  between(static_cast<double>(epochs), 1, 1e6, "epochs", "--epochs");
  between(static_cast<double>(steps), 0, 1e12, "steps", "--steps");
  between(warmup_epochs, 0, 1e6, "warmup_epochs", "--warmup-epochs");
  one_of(schedule, {"cosine", "step", "constant"}, "--schedule");
  (void)parse_ratio_schedule(ratio_schedule);
  (void)parse_milestones(lr_milestones);
  if (!(lr_gamma > 0 && lr_gamma <= 1)) {
    refuse(concat("lr_gamma = ", lr_gamma), "0 < lr_gamma <= 1", "--lr-gamma");
  }
  const Architecture architecture = make_architecture(network.arch, 3, 10, network.dropout);
  for (const auto& [epoch, side] : parse_size_schedule(size_schedule)) {
    if (architecture.image_side && *architecture.image_side != side) {
      refuse(concat("a side of ", side, " for ", network.arch),
             concat(*architecture.image_side, "x", *architecture.image_side, " images"), "--size-schedule");
    }
  }
  for (const Mode mode : kModes) {
    if (uses(mode)) {
      network.validate(mode);
    }
  }
  validate_sampled();
  validate_together();
  one_of(on_disagreement, {"error", "broadcast"}, "--on-disagreement");
  one_of(on_nonfinite, {"stop", "skip"}, "--on-nonfinite");
  if (!parse_faults(inject).empty() && !allow_inject) {
    refuse("--inject breaks the run on purpose", "--allow-inject beside it", "--inject");
  }
  one_of(progress, {"auto", "bar", "lines"}, "--progress");
  one_of(eval_network, {"auto", "sampled", "dense", "both"}, "--eval-network");
  at_least(static_cast<double>(recalibrate_batches), 0, "recalibrate_batches", "--recalibrate-batches");
  at_least(static_cast<double>(checkpoint_every), 0, "checkpoint_every", "--checkpoint-every");
  at_least(static_cast<double>(keep), 1, "keep", "--keep");
  at_least(static_cast<double>(checkpoint_failures), 1, "checkpoint_failures", "--checkpoint-failures");
  at_least(static_cast<double>(stop_after), 0, "stop_after", "--stop-after");
  at_least(static_cast<double>(log_every), 1, "log_every", "--log-every");
  constexpr double kMostTraced = 1000;  // viewers take a few hundred MB
  between(static_cast<double>(trace), 0, kMostTraced, "trace", "--trace");
  at_least(static_cast<double>(check_replicas_every), 0, "check_replicas_every", "--check-replicas-every");
}

void TrainOptions::validate_auto() const {
  if (!chooses_mode()) {
    if (auto_ratio != 1) {
      refuse(concat("auto_ratio = ", auto_ratio, " with mode ", network.mode), "--mode auto beside it",
             "--auto-ratio");
    }
    return;
  }
  if (!(auto_ratio > 0 && auto_ratio <= 1)) {
    refuse(concat("auto_ratio = ", auto_ratio), "0 < auto_ratio <= 1", "--auto-ratio");
  }
  if (!mode_schedule.empty() || !ratio_schedule.empty()) {
    refuse("a schedule says which mode or ratio is when, mode auto chooses one for the run",
           "no --mode-schedule and no --ratio-schedule, or another mode", "--mode");
  }
  (void)parse_coupling(network.coupling);
  network.validate(Mode::compact);
  LowRankConfig{.rank = step.powersgd_rank}.validate();
}

/// What says how to sample, where no step does.
void TrainOptions::validate_sampled() const {
  if (uses(Mode::compact) || uses(Mode::feedback) || uses(Mode::approximate)) {
    return;
  }
  const NetworkOptions standard;
  const auto is_for_others = [](bool given, const std::string& option) {
    if (given) {
      refuse(concat(option, " in mode dense, which leaves nothing out"),
             "--mode compact, feedback or approximate beside it", option);
    }
  };
  is_for_others(network.size.ratio != standard.size.ratio, "--sample-ratio");
  is_for_others(!ratio_schedule.empty(), "--ratio-schedule");
  is_for_others(network.sampler != standard.sampler, "--sampler");
  is_for_others(network.size.minimal_k != standard.size.minimal_k, "--minimal-k");
  is_for_others(network.size.channel_multiple != standard.size.channel_multiple, "--channel-multiple");
  is_for_others(network.size.channel_block != standard.size.channel_block, "--channel-block");
  is_for_others(network.resample_every != standard.resample_every, "--resample-every");
  is_for_others(network.coupling != standard.coupling, "--coupling");
}

/// Options that need each other.
void TrainOptions::validate_together() const {
  if (uses(Mode::feedback) && step.reduce == "dense") {
    refuse("a dense reduction leaves nothing for mode feedback to remember", "slices or powersgd",
           "--reduce");
  }
  if (!uses(Mode::feedback) && network.row_groups() > 1) {
    refuse(concat("slice_output_ratio = ", network.slice_output_ratio, " without mode feedback"), "1",
           "--slice-output-ratio");
  }
  const TrainOptions usual;
  if (schedule != "step" && (!lr_milestones.empty() || lr_gamma != usual.lr_gamma)) {
    refuse(concat("'", schedule, "' beside --lr-milestones or --lr-gamma"), "step", "--schedule");
  }
  const NetworkOptions& standard = usual.network;
  if (!uses(Mode::approximate) &&
      (network.approximate != standard.approximate || network.term_norms != standard.term_norms ||
       network.input_gradient_ratio != 0 || network.weight_gradient_ratio != 0)) {
    refuse("--approximate, --term-norms and the ratios of gradients without mode approximate",
           "--mode approximate beside them", "--mode");
  }
  if (!uses(Mode::compact) && !uses(Mode::feedback) && uses(Mode::approximate) &&
      network.resample_every != 1) {
    refuse(concat("resample_every = ", network.resample_every, " in mode approximate, where each step draws"),
           "1", "--resample-every");
  }
  if (!uses(Mode::compact) && !uses(Mode::feedback) && uses(Mode::approximate) &&
      network.size.channel_block != 1) {
    refuse(concat("channel_block = ", network.size.channel_block,
                  " in mode approximate, whose terms are drawn one by one"),
           "1", "--channel-block");
  }
  if (!uses(Mode::compact) && network.join != standard.join) {
    refuse("--join without mode compact", "--mode compact, or a schedule that has it", "--mode");
  }
  if (network.sampler != "anneal" && network.anneal_steps != standard.anneal_steps) {
    refuse(concat("anneal_steps = ", network.anneal_steps, " with sampler ", network.sampler), "anneal",
           "--sampler");
  }
  if (step.reduce != "powersgd" && step.reduce != "auto" && step.powersgd_rank != kDefaultPowersgdRank) {
    refuse(concat("powersgd_rank = ", step.powersgd_rank, " without factors"), "--reduce powersgd beside it",
           "--powersgd-rank");
  }
}

void TrainOptions::require_world(int world_size) const {
  for (const Fault& fault : parse_faults(inject)) {
    if (fault.rank >= world_size) {
      refuse(concat("'rank", fault.rank, " of ", world_size, "'"), concat("ranks below ", world_size),
             "--inject");
    }
  }
  if (!chooses_mode() && uses(Mode::approximate) && step.reduce == "slices" && world_size > 1) {
    refuse(concat("mode approximate chooses by activations, which the ", world_size,
                  " workers do not share: their gradients have no slices in common"),
           "dense or powersgd, or one worker", "--reduce");
  }
}

std::int64_t TrainOptions::images_per_step(int world_size) const {
  return global_batch_size > 0 ? global_batch_size : step.images() * world_size;
}

StepOptions TrainOptions::step_of_worker(int world_size) const {
  StepOptions own = step;
  if (global_batch_size > 0) {
    const std::int64_t share = (global_batch_size + world_size - 1) / world_size;
    // As even_parts() cuts it.
    own.accumulate = (share + step.batch_size - 1) / step.batch_size;
    own.batch_size = (share + own.accumulate - 1) / own.accumulate;
  }
  return own;
}

Mode TrainOptions::mode_at(std::int64_t epoch) const {
  return value_at(parse_mode_schedule(mode_schedule), epoch, parse_mode(network.mode));
}

double TrainOptions::ratio_at(std::int64_t epoch) const {
  const Mode mode = mode_at(epoch);
  const double ratio = network.ratio(mode);
  return mode == Mode::dense ? ratio : value_at(parse_ratio_schedule(ratio_schedule), epoch, ratio);
}

bool TrainOptions::uses(Mode mode) const {
  const auto modes = parse_mode_schedule(mode_schedule);
  const bool scheduled = std::ranges::any_of(modes, [&](const auto& entry) { return entry.second == mode; });
  const bool starts_unscheduled = modes.empty() || modes.front().first > 0;
  return scheduled || (starts_unscheduled && parse_mode(network.mode) == mode);
}

std::vector<std::int64_t> parse_milestones(const std::string& text) {
  std::vector<std::int64_t> milestones;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    std::istringstream number(part);
    std::int64_t epoch = 0;
    if (!(number >> epoch) || !number.eof() || !(epoch > (milestones.empty() ? 0 : milestones.back()))) {
      refuse(concat("'", part, "' in '", text, "'"), "rising whole epochs, as in 60,120,160",
             "--lr-milestones");
    }
    milestones.push_back(epoch);
  }
  return milestones;
}

TrainingStepConfig training_step_config(const StepOptions& step) {
  return {.precision = parse_precision(step.precision),
          .reduce = step.reduce == "dense" ? ReduceWhat::dense : ReduceWhat::slices,
          .owes_losses = step.reduce == "powersgd",
          .label_smoothing = step.label_smoothing};
}

namespace {

/// How many numbers travel for a matrix.
WireNumel wire_numel(const StepOptions& step) {
  if (step.reduce != "powersgd") {
    return std::multiplies<>();
  }
  return [low_rank = LowRankConfig{.rank = step.powersgd_rank}](std::int64_t rows, std::int64_t columns) {
    return low_rank.numel_of(rows, columns);
  };
}

}  // namespace

std::vector<LayerCost> costs_of_step(const Layout& layout, const StepPlans& plans,
                                     const SliceLayout* slice_layout, const StepOptions& step,
                                     std::int64_t image_size) {
  auto layers = plans.slices != nullptr
                    ? layer_costs(layout, *slice_layout, *plans.slices, image_size, wire_numel(step))
                    : layer_costs(layout, plans.network, image_size, wire_numel(step),
                                  plans.products ? &*plans.products : nullptr);
  for (LayerCost& layer : layers) {
    if (step.reduce == "dense") {
      layer.numel = layer.kept_numel = layer.dense_numel;
    }
  }
  return layers;
}

void validate_hierarchy(const std::string& hierarchy) {
  one_of(hierarchy, {"auto", "on", "off"}, "--hierarchy");
}

}  // namespace slicereduce
