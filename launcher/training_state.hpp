#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "launcher/checkpoint.hpp"
#include "launcher/train_options.hpp"
#include "models/network.hpp"
#include "sampling/planner.hpp"
#include "sampling/sliced_sgd.hpp"

namespace slicereduce {

/// All that training changes: what a checkpoint holds and a resumed run goes on with.
struct TrainingState {
  /// Fresh weights from options.seed, which is set, or from --init-from.
  TrainingState(const TrainOptions& options, std::int64_t in_channels, std::int64_t num_classes,
                at::Device device = at::kCPU);

  /// Throws Error(input) where the checkpoint is of another network.
  void restore(const Checkpoint& checkpoint, const std::string& where);
  /// `manifest` says what this state doesn't know; the rest of it is filled in here.
  [[nodiscard]] Checkpoint checkpoint(Manifest manifest) const;

  Network network;
  SlicedSgd sgd;
  Planner planner;
  std::int64_t steps_done = 0;
  double best_top1 = -1;
  std::optional<NormStatistics> recalibrated;  ///< of the exact network, since the last evaluation
};

}  // namespace slicereduce
