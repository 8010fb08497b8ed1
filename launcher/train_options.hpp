#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/gradient_reducer.hpp"
#include "launcher/mode.hpp"
#include "launcher/training_step.hpp"
#include "models/cost.hpp"
#include "models/layout.hpp"
#include "models/network.hpp"
#include "models/slice_layout.hpp"
#include "sampling/planner.hpp"
#include "sampling/sliced_sgd.hpp"

namespace slicereduce {

/// What is trained and how, apart from data and files: shared by `train`, `plan` and `bench step`.
struct NetworkOptions {
  std::string arch = "resnet50";
  double dropout = 0;
  std::string mode = "dense";
  std::string sampler = "auto";
  SampleSize size{.ratio = 0};  ///< ratio 0: the mode's own, see ratio()
  double slice_output_ratio = 1;
  std::string approximate = "forward";  ///< in mode approximate, which products
  std::string term_norms = "both";      ///< likewise, what their sampler sees
  double input_gradient_ratio = 0;      ///< with approximate = backward; 0: as the sample ratio
  double weight_gradient_ratio = 0;     ///< likewise
  std::int64_t resample_every = 1;
  std::int64_t anneal_steps = SamplingConfig{}.anneal_steps;
  std::string join = "as_they_are";  ///< how channels come into a network that grows
  std::string coupling = "block";
  bool sample_classifier = false;
  std::string wire = "fp32";

  /// Throws Error(usage) naming the option, its value and its range.
  void validate() const;
  /// Throws Error(usage) where `used`, the mode of some step, can't be run with the other options.
  void validate(Mode used) const;
  /// How channels of the network are chosen, or in mode feedback slices of the gradient.
  [[nodiscard]] SamplingConfig sampling(Mode used) const;
  /// How a step in mode approximate computes the layers that may be sampled.
  [[nodiscard]] ProductApproximation products(double ratio) const;
  /// Into so many groups the rows of a gradient are cut, of which a step sends one.
  [[nodiscard]] std::int64_t row_groups() const;
  /// Share of channels that a step keeps, or sends: 1 in mode dense; else what was asked for, or 0.5, and
  /// 0.25 in mode feedback.
  [[nodiscard]] double ratio(Mode used) const;
  /// Mode dense, without the options of sampling that it refuses.
  void leave_nothing_out();
  [[nodiscard]] Layout layout(std::int64_t in_channels, std::int64_t num_classes) const;

 private:
  void validate_products() const;
};

/// Rank 4 lost 0.9 points of top-1 in a Wide-ResNet, 8 lost 0.3, 16 0.1 (docs/accuracy.md).
inline constexpr std::int64_t kDefaultPowersgdRank = 16;

/// How a step runs on a rank.
struct StepOptions {
  std::int64_t batch_size = 32;  ///< per worker, at once
  std::int64_t accumulate = 1;   ///< batches a step
  double lr = 0.1;
  SgdConfig sgd;
  double label_smoothing = 0;
  std::string precision = "fp32";
  std::string device = "auto";
  std::string reduce = "auto";  ///< factors between several workers: see settle_reduction()
  std::int64_t powersgd_rank = kDefaultPowersgdRank;
  double bucket_mb = 0.25;
  std::string overlap = "on";
  std::string backend = "auto";
  std::string cuda_graph = "auto";
  std::string cudnn = "deterministic";
  std::string hierarchy = "auto";
  double timeout_s = 300;
  int threads = 0;  ///< 0: cores per local rank

  void validate() const;
  /// Puts a choice in the place of --reduce auto: factors, or slices where one worker has nobody to send to.
  void settle_reduction(int world_size);
  [[nodiscard]] std::int64_t images() const { return batch_size * accumulate; }  ///< per worker and step
};

/// Everything that `slicereduce train` can be told, with defaults that train.
struct TrainOptions {
  NetworkOptions network;
  StepOptions step;
  std::string data;
  std::string val_data;  ///< empty: in `data`
  std::string dataset = "auto";
  std::int64_t image_size = 0;  ///< 0: the dataset's own, 224 for photographs
  std::string decode = "needed";
  std::string bad_images = "error";
  int workers = 1;                     ///< loader threads
  std::int64_t global_batch_size = 0;  ///< of all workers; 0: what each computes, times their number
  std::int64_t epochs = 90;
  std::int64_t steps = 0;  ///< 0: as the epochs take
  double warmup_epochs = 0;
  std::string schedule = "cosine";
  std::string lr_milestones;   ///< "60,120": epochs at which `step` drops; empty: every 30
  double lr_gamma = 0.1;       ///< by what
  std::string size_schedule;   ///< "0:128,6:160"; empty: image_size throughout
  std::string mode_schedule;   ///< "0:compact,80:feedback"; empty: --mode throughout
  std::string ratio_schedule;  ///< "0:0.5,80:1.0"; empty: --sample-ratio throughout
  double auto_ratio = 1;       ///< with --mode auto, the least share of channels that compact may keep
  std::string on_disagreement = "error";
  std::string eval_network = "both";
  std::int64_t recalibrate_batches = 32;
  std::string run_dir = "runs/run";
  std::string resume = "auto";
  std::string init_from;
  std::int64_t checkpoint_every = 0;  ///< steps; 0: at the end of each epoch
  std::int64_t keep = 3;
  std::int64_t checkpoint_failures = 3;  ///< in a row that end the run
  std::int64_t stop_after = 0;           ///< 0: never
  std::optional<std::uint64_t> seed;
  std::int64_t log_every = 10;
  std::int64_t trace = 0;
  std::string progress = "auto";
  std::int64_t check_replicas_every = 0;
  std::string on_nonfinite = "stop";
  std::string inject;  ///< faults on purpose, see parse_faults()
  bool allow_inject = false;

  void validate() const;
  /// Throws Error(usage) for what so many workers can't do.
  void require_world(int world_size) const;
  /// --mode auto: the program chooses mode, wire, reduction and bucket size before the first step, and the
  /// options are then those that it chose. Only validate() knows of it besides.
  [[nodiscard]] bool chooses_mode() const { return network.mode == "auto"; }
  /// Images of a step on all workers.
  [[nodiscard]] std::int64_t images_per_step(int world_size) const;
  /// How a worker runs a step, where --global-batch-size says how much of it there is.
  [[nodiscard]] StepOptions step_of_worker(int world_size) const;
  /// As --mode-schedule and --mode have it.
  [[nodiscard]] Mode mode_at(std::int64_t epoch) const;
  /// As --ratio-schedule, --sample-ratio and the mode have it.
  [[nodiscard]] double ratio_at(std::int64_t epoch) const;
  /// Whether some epoch is in that mode.
  [[nodiscard]] bool uses(Mode mode) const;

 private:
  void validate_sampled() const;
  void validate_together() const;
  void validate_auto() const;
};

/// "60,120" to {60, 120}. Throws Error(usage) where they do not rise.
[[nodiscard]] std::vector<std::int64_t> parse_milestones(const std::string& text);

/// What the options mean to a step.
[[nodiscard]] TrainingStepConfig training_step_config(const StepOptions& step);
/// What each layer of a step costs where the network keeps `network`, or in mode feedback `slices` of its
/// gradient are sent.
[[nodiscard]] std::vector<LayerCost> costs_of_step(const Layout& layout, const StepPlans& plans,
                                                   const SliceLayout* slice_layout, const StepOptions& step,
                                                   std::int64_t image_size);

/// Throws Error(usage) for what it doesn't know.
void validate_hierarchy(const std::string& hierarchy);

}  // namespace slicereduce
