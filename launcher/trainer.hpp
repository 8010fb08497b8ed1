#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "comm/gradient_reducer.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "imagenet/epoch_order.hpp"
#include "imagenet/loader.hpp"
#include "launcher/activity.hpp"
#include "launcher/batch_feed.hpp"
#include "launcher/captured_step.hpp"
#include "launcher/checkpoint.hpp"
#include "launcher/checkpoint_writer.hpp"
#include "launcher/consensus.hpp"
#include "launcher/injected_faults.hpp"
#include "launcher/network_evaluation.hpp"
#include "launcher/run_directory.hpp"
#include "launcher/run_report.hpp"
#include "launcher/schedule.hpp"
#include "launcher/settlement.hpp"
#include "launcher/step_trace.hpp"
#include "launcher/train_options.hpp"
#include "launcher/training_data.hpp"
#include "launcher/training_state.hpp"
#include "launcher/training_step.hpp"

namespace slicereduce {

/// How a run was asked for, beyond the options as values.
struct RunRequest {
  TrainOptions options;            ///< `seed` is set, the same on all ranks
  std::string config;              ///< the text of config.toml
  std::unique_ptr<LockFile> lock;  ///< rank 0's, of the run's folder; none where that is yet to be made
  std::optional<std::filesystem::path> resume;  ///< the checkpoint to go on from, the same on all ranks
  std::vector<std::string> notes;               ///< for the run's log, from before there was one
  std::function<bool()> stop_requested;         ///< by a signal to this process
  TrainingData data;                            ///< the same on all ranks
  at::Device device = at::kCPU;                 ///< of this rank
  std::shared_ptr<Activity> activity = std::make_shared<Activity>();  ///< is told what this rank is at
  InjectedFaults faults;                                              ///< of this rank
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
};

/// A training run on one rank.
class Trainer {
 public:
  /// Collective. Loads weights and makes sure that all ranks hold the same, then opens the run's
  /// folder; nothing is written before. Throws SharedError where a rank can't or ranks differ.
  /// `background` is another communicator of the same ranks, for a thread of its own. Both must outlive this.
  Trainer(RunRequest request, Communicator& communicator, Communicator& background, Log log);

  /// Collective. Trains to the end, or until it was asked to stop: then a checkpoint was written.
  [[nodiscard]] ExitCode run();

  /// Until the one under way is written, or can't be.
  void wait_for_checkpoint();

 private:
  [[nodiscard]] ExitCode train_to_the_end();
  /// Tells others what this rank is at, and breaks what --inject wants broken there.
  void enter(Phase phase);

  // Start
  void load();
  void require_same_steps(const Manifest& saved) const;
  void open_run();

  // Steps
  void train_step();
  /// Of at most --batch-size images each; `batch` outlives them.
  [[nodiscard]] MicrobatchSource microbatches(const Batch& batch) const;
  [[nodiscard]] StepResult run_step(const StepPlans& plans, const Batch& batch, double lr);

  // Between epochs
  /// Writes checkpoints before and after it is evaluated; false where the run is to stop in between.
  [[nodiscard]] bool finish_epoch();
  [[nodiscard]] bool evaluate_networks();
  [[nodiscard]] ExitCode stop();
  void checkpoint(bool is_best);
  void finish_checkpoints();
  /// Collective if tracing has begun and not ended.
  void end_trace();
  /// A trace, where there is one on this rank.
  void keep(const std::optional<std::string>& trace);
  /// Collective. Pictures that were skipped so far, on all ranks.
  [[nodiscard]] std::int64_t count_bad_images() const;
  void write_summary();
  /// Of the last step's images.
  [[nodiscard]] std::int64_t training_side() const;

  [[nodiscard]] bool leads() const { return communicator_.rank() == 0; }

  RunRequest request_;
  const TrainOptions& options_;
  Communicator& communicator_;
  Log log_;
  RunDirectory directory_;
  CheckpointFolder checkpoints_;

  const TrainingData& data_;
  std::unique_ptr<EpochOrder> order_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<TrainingState> state_;
  std::unique_ptr<GradientReducer> reducer_;
  std::unique_ptr<Settlement> settlement_;
  std::unique_ptr<TrainingStep> step_;
  std::unique_ptr<CapturedStep> captured_;  // in its place where a device is given whole steps
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<Loader> validation_loader_;
  std::unique_ptr<BatchFeed> feed_;
  std::unique_ptr<NetworkEvaluation> evaluation_;
  std::unique_ptr<RunReport> report_;  // rank 0's
  std::unique_ptr<CheckpointWriter> writer_;
  std::unique_ptr<StepTrace> trace_;

  bool stop_requested_ = false;
  std::int64_t images_ = 0;   // trained on by all ranks since this start
  double train_seconds_ = 0;  // likewise
  std::int64_t wire_bytes_per_step_ = 0;
  bool owes_evaluation_ = false;  // of the epoch at whose end the run was stopped that is resumed
};

/// Collective. The file that --resume means, agreed by all ranks; nothing where a run starts afresh.
/// Damaged checkpoints are passed over with a warning. Throws SharedError where a file was named and can't be
/// read, and where --resume none would overwrite a run.
[[nodiscard]] std::optional<std::filesystem::path> checkpoint_to_resume(const TrainOptions& options,
                                                                        Communicator& communicator,
                                                                        const Log& log);

}  // namespace slicereduce
