#include "launcher/training_state.hpp"

#include "core/error.hpp"
#include "core/state_dict.hpp"
#include "core/text.hpp"
#include "models/weights.hpp"

namespace slicereduce {

namespace {

template <typename T>
void require_same(const std::string& what, const T& saved, const T& asked, const std::string& where) {
  if (saved != asked) {
    throw Error(ErrorKind::input,
                concat(where, " holds a network with ", what, " ", saved, ", but this run has ", asked,
                       "; take another --run-dir, or --resume none"));
  }
}

}  // namespace

TrainingState::TrainingState(const TrainOptions& options, std::int64_t in_channels, std::int64_t num_classes,
                             at::Device device)
    : network(options.network.layout(in_channels, num_classes), *options.seed, device),
      sgd(network.parameters(), network.layout().sites, options.step.sgd),
      planner(network.layout().sites, options.network.sampling, *options.seed) {
  if (!options.init_from.empty()) {
    load_network_state(network, read_state_dict(options.init_from), options.init_from);
    sgd.refresh_norms();
  }
}

void TrainingState::restore(const Checkpoint& checkpoint, const std::string& where) {
  const Manifest& saved = checkpoint.manifest;
  const Layout& layout = network.layout();
  require_same("architecture", saved.arch, layout.architecture.name, where);
  require_same("classes", saved.num_classes, layout.architecture.num_classes, where);
  require_same("input channels", saved.in_channels, layout.architecture.stem.in, where);
  require_same<int>("--sample-classifier", saved.sample_classifier, layout.classifier_site.has_value(),
                    where);
  load_parameter_tensors(network, network.values(), checkpoint.weights, where);
  load_parameter_tensors(network, sgd.momentum(), checkpoint.momentum, where);
  load_statistics(network, network.statistics(), checkpoint.statistics, where);
  planner.adopt(plan_from_state(layout.sites, checkpoint.channels, where), saved.ratio);
  sgd.refresh_norms();
  steps_done = saved.step;
  best_top1 = saved.best_top1;
}

Checkpoint TrainingState::checkpoint(Manifest manifest) const {
  const Layout& layout = network.layout();
  manifest.arch = layout.architecture.name;
  manifest.coupling = to_string(layout.coupling);
  manifest.sample_classifier = layout.classifier_site.has_value();
  manifest.in_channels = layout.architecture.stem.in;
  manifest.num_classes = layout.architecture.num_classes;
  manifest.step = steps_done;
  manifest.best_top1 = best_top1;
  manifest.settles = planner.sampler().settles();
  manifest.ratio = planner.ratio();
  return {.manifest = std::move(manifest),
          .weights = parameter_tensors(network, network.values()),
          .momentum = parameter_tensors(network, sgd.momentum()),
          .statistics = statistics_state(network, network.statistics()),
          .recalibrated = recalibrated ? statistics_state(network, *recalibrated) : StateDict{},
          .channels = plan_state(layout.sites, planner.current())};
}

}  // namespace slicereduce
