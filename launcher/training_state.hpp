#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "launcher/checkpoint.hpp"
#include "launcher/debts.hpp"
#include "launcher/train_options.hpp"
#include "models/cost.hpp"
#include "models/network.hpp"
#include "models/slice_layout.hpp"
#include "sampling/error_feedback.hpp"
#include "sampling/planner.hpp"
#include "sampling/sliced_sgd.hpp"

namespace slicereduce {

/// How gradients are cut in mode feedback, and which slices' turn it is.
struct GradientSlices {
  GradientSlices(const Network& network, const NetworkOptions& options, std::uint64_t seed);

  SliceLayout layout;
  std::vector<SlicedParameter> parameters;  ///< the network's values, in the slice layout's shapes
  Planner planner;
};

/// All that training changes: what a checkpoint holds and a resumed run goes on with.
struct TrainingState {
  /// Fresh weights from options.seed, which is set, or from --init-from.
  TrainingState(const TrainOptions& options, std::int64_t in_channels, std::int64_t num_classes,
                at::Device device = at::kCPU);

  /// What `step` runs on and sends, drawn where it is due. `largest`: which channels have the largest norms,
  /// where that is known; used where it is what is to be drawn.
  [[nodiscard]] StepPlans plans(std::int64_t step, Mode mode, double ratio, const Plan* largest = nullptr);
  /// Of the plans handed out last.
  [[nodiscard]] double ratio() const;
  /// Whether that step's forward pass was the exact network's, as batch norm's statistics then are.
  [[nodiscard]] bool ran_exactly() const;
  /// For the training step; nothing where everything that a step computes is sent.
  [[nodiscard]] std::optional<Feedback> feedback();
  /// Of a step with the plans handed out last.
  [[nodiscard]] LayerCost cost(std::int64_t image_size) const;

  /// `rank` of `world_size` takes what it owed; of another number of ranks, each takes the mean of what all
  /// owed. Throws Error(input) where the checkpoint is of another network.
  void restore(const Checkpoint& checkpoint, const std::string& where, int rank = 0, int world_size = 1);
  /// All but what ranks owe. `manifest` says what this state doesn't know; the rest of it is filled in here.
  [[nodiscard]] Checkpoint checkpoint(Manifest manifest, int world_size) const;
  /// What this rank owes.
  [[nodiscard]] OwnDebts debts();

  Network network;
  SlicedSgd sgd;
  Planner planner;
  std::unique_ptr<GradientSlices> slices;  ///< where some step is in mode feedback
  std::optional<ErrorFeedback> memory;     ///< where some step does not send all that it computes
  Mode mode = Mode::compact;               ///< of the last step
  std::int64_t steps_done = 0;
  double best_top1 = -1;
  std::optional<NormStatistics> recalibrated;  ///< of the exact network, since the last evaluation

 private:
  [[nodiscard]] const Plan& kept_channels(std::int64_t step, double ratio, const Plan* largest);

  NetworkOptions network_options_;
  StepOptions step_options_;
  std::uint64_t seed_;
  double products_ratio_ = 1;  ///< of the last step in mode approximate

  /// The same on all ranks: what is owed follows from plans, which they share.
  [[nodiscard]] bool is_in_debt();
  /// Whether a step has channels that the last one's compact network left out.
  [[nodiscard]] bool grows(Mode mode_of_step, double ratio) const;
  void clear_what_joins();
  void restore_debts(const Checkpoint& checkpoint, const std::string& where, int rank, int world_size);
};

}  // namespace slicereduce
