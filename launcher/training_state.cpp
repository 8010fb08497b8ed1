#include "launcher/training_state.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "core/error.hpp"
#include "core/state_dict.hpp"
#include "core/text.hpp"
#include "models/weights.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce {

namespace {

template <typename T>
void require_same(const std::string& what, const T& saved, const T& asked, const std::string& where) {
  if (saved != asked) {
    throw Error(ErrorKind::input, concat(where, " holds a network with ", what, " ", saved,
                                         ", but this run has ", asked, "; take another --run-dir"));
  }
}

}  // namespace

GradientSlices::GradientSlices(const Network& network, const NetworkOptions& options, std::uint64_t seed)
    : layout(make_slice_layout(network.layout(), options.row_groups() > 1)),
      planner(layout.sites, options.sampling(Mode::feedback), seed) {
  for (std::size_t p = 0; p < layout.parameters.size(); ++p) {
    parameters.push_back({.shape = layout.parameters[p], .value = network.parameters()[p].value});
  }
}

TrainingState::TrainingState(const TrainOptions& options, std::int64_t in_channels, std::int64_t num_classes,
                             at::Device device)
    : network(options.network.layout(in_channels, num_classes), *options.seed, device),
      sgd(network.parameters(), network.layout().sites, options.step.sgd),
      planner(network.layout().sites, options.network.sampling(Mode::compact), *options.seed),
      network_options_(options.network),
      step_options_(options.step),
      seed_(*options.seed) {
  if (options.uses(Mode::feedback)) {
    slices = std::make_unique<GradientSlices>(network, options.network, *options.seed);
  }
  if (slices || options.step.reduce == "powersgd") {
    memory.emplace(network.parameters().size());
  }
  if (!options.init_from.empty()) {
    load_network_state(network, read_state_dict(options.init_from), options.init_from);
    sgd.refresh_norms();
  }
}

const Plan& TrainingState::kept_channels(std::int64_t step, double ratio, const Plan* largest) {
  const auto at = static_cast<std::uint64_t>(step);
  if (largest != nullptr && planner.takes(at, ratio, *largest)) {
    return planner.plan(at, ratio, *largest);
  }
  // To ask for them is to wait for the device.
  return planner.reads_norms(at, ratio) ? planner.plan(at, ratio, sgd.norms())
                                        : planner.plan(at, ratio, std::span<const std::vector<float>>());
}

StepPlans TrainingState::plans(std::int64_t step, Mode mode_of_step, double ratio, const Plan* largest) {
  if (network_options_.join == "zero" && grows(mode_of_step, ratio)) {
    clear_what_joins();
    largest = nullptr;  // it was of the weights before
  }
  // A compact network has no place for what is owed of the channels that it leaves out: one exact step pays.
  const bool pays = mode != Mode::compact && mode_of_step == Mode::compact && is_in_debt();
  mode = pays ? Mode::dense : mode_of_step;
  const auto at = static_cast<std::uint64_t>(step);
  const DrawKey draws{.seed = seed_, .step = at};
  const Plan& kept = kept_channels(step, mode == Mode::compact ? ratio : 1.0, largest);
  if (mode == Mode::approximate) {
    products_ratio_ = ratio;
    return {.network = kept, .draws = draws, .products = network_options_.products(ratio)};
  }
  if (mode != Mode::feedback) {
    return {.network = kept, .pays = pays, .draws = draws};
  }
  Planner& cutter = slices->planner;
  const auto norms = cutter.reads_norms(at, ratio) ? sgd.norms(slices->layout.sites, slices->parameters)
                                                   : std::vector<std::vector<float>>();
  return {.network = kept, .slices = &cutter.plan(at, ratio, norms), .draws = draws};
}

bool TrainingState::grows(Mode mode_of_step, double ratio) const {
  const bool was_compact = mode == Mode::compact && planner.ratio() > 0 && !planner.current().full();
  return was_compact && (mode_of_step != Mode::compact || ratio > planner.ratio());
}

/// All that is left out, not what joins now alone: a sampler by norms would prefer what was never trained.
void TrainingState::clear_what_joins() {
  const std::span<SlicedParameter> parameters = network.parameters();
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    clear_left_out_columns(parameters[p].shape, planner.current(), parameters[p].value);
    clear_left_out_columns(parameters[p].shape, planner.current(), sgd.momentum()[p]);
    if (memory && memory->owed()[p].defined()) {
      clear_left_out_columns(parameters[p].shape, planner.current(), memory->owed()[p]);
    }
  }
  sgd.refresh_norms();
}

bool TrainingState::is_in_debt() {
  return memory && std::ranges::any_of(memory->owed(), [](const at::Tensor& owed) { return owed.defined(); });
}

double TrainingState::ratio() const {
  if (mode == Mode::approximate) {
    return products_ratio_;
  }
  return mode == Mode::feedback ? slices->planner.ratio() : planner.ratio();
}

bool TrainingState::ran_exactly() const {
  const bool approximates =
      mode == Mode::approximate && network_options_.products(products_ratio_).forward.has_value();
  return planner.current().full() && !approximates;
}

std::optional<Feedback> TrainingState::feedback() {
  if (!memory) {
    return std::nullopt;
  }
  return Feedback{.memory = *memory,
                  .slices = slices ? std::span<const SlicedParameter>(slices->parameters)
                                   : std::span<const SlicedParameter>()};
}

LayerCost TrainingState::cost(std::int64_t image_size) const {
  const bool is_cut = mode == Mode::feedback;
  StepPlans plans{.network = planner.current(), .slices = is_cut ? &slices->planner.current() : nullptr};
  if (mode == Mode::approximate) {
    plans.products = network_options_.products(products_ratio_);
  }
  return total_cost(
      costs_of_step(network.layout(), plans, is_cut ? &slices->layout : nullptr, step_options_, image_size));
}

void TrainingState::restore(const Checkpoint& checkpoint, const std::string& where, int rank,
                            int world_size) {
  const Manifest& saved = checkpoint.manifest;
  const Layout& layout = network.layout();
  require_same("architecture", saved.arch, layout.architecture.name, where);
  require_same("classes", saved.num_classes, layout.architecture.num_classes, where);
  require_same("input channels", saved.in_channels, layout.architecture.in_channels, where);
  require_same<int>("--sample-classifier", saved.sample_classifier, layout.classifier_site.has_value(),
                    where);
  load_parameter_tensors(network, network.values(), checkpoint.weights, where);
  load_parameter_tensors(network, sgd.momentum(), checkpoint.momentum, where);
  load_statistics(network, network.statistics(), checkpoint.statistics, where);
  load_planner(planner, saved.ratio, checkpoint.channels, where);
  mode = parse_mode(saved.mode);
  products_ratio_ = saved.products_ratio;
  if (slices) {
    load_planner(slices->planner, saved.slice_ratio, checkpoint.slices, where);
  } else if (mode == Mode::feedback) {
    mode = Mode::dense;  // what its network was
  }
  restore_debts(checkpoint, where, rank, world_size);
  sgd.refresh_norms();
  steps_done = saved.step;
  best_top1 = saved.best_top1;
}

void TrainingState::restore_debts(const Checkpoint& checkpoint, const std::string& where, int rank,
                                  int world_size) {
  if (checkpoint.owed.empty()) {
    return;
  }
  if (step_options_.reduce == "dense") {
    throw Error(ErrorKind::usage, concat(where,
                                         " holds what workers have not sent yet, which a dense reduction "
                                         "can't pay: resume with --reduce slices or powersgd"));
  }
  if (!memory) {
    memory.emplace(network.parameters().size());  // what is owed is paid, whatever this run's mode
  }
  const std::span<at::Tensor> debts = memory->owed();
  for (std::size_t p = 0; p < debts.size(); ++p) {
    const at::Tensor owed = share_of_owed(checkpoint.owed, network.layout().parameters[p],
                                          checkpoint.manifest.world_size, rank, world_size, where);
    debts[p] = owed.defined() ? owed.to(network.device()).contiguous(memory_format_of(owed.sizes())) : owed;
  }
}

OwnDebts TrainingState::debts() {
  return copy_debts(memory ? memory->owed() : std::span<at::Tensor>(), network.layout().parameters);
}

Checkpoint TrainingState::checkpoint(Manifest manifest, int world_size) const {
  const Layout& layout = network.layout();
  manifest.arch = layout.architecture.name;
  manifest.coupling = to_string(layout.coupling);
  manifest.sample_classifier = layout.classifier_site.has_value();
  manifest.in_channels = layout.architecture.in_channels;
  manifest.num_classes = layout.architecture.num_classes;
  manifest.step = steps_done;
  manifest.world_size = world_size;
  manifest.best_top1 = best_top1;
  manifest.settles = planner.sampler().settles();
  manifest.mode = to_string(mode);
  manifest.ratio = planner.ratio();
  manifest.products_ratio = products_ratio_;
  manifest.slice_ratio = slices ? slices->planner.ratio() : 1;
  return {.manifest = std::move(manifest),
          .weights = parameter_tensors(network, network.values()),
          .momentum = parameter_tensors(network, sgd.momentum()),
          .statistics = statistics_state(network, network.statistics()),
          .recalibrated = recalibrated ? statistics_state(network, *recalibrated) : StateDict{},
          .channels = planner_state(planner),
          .slices = slices ? planner_state(slices->planner) : StateDict{}};
}

}  // namespace slicereduce
