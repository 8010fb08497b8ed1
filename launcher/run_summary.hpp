#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "launcher/evaluation.hpp"
#include "launcher/train_options.hpp"
#include "launcher/training_state.hpp"

namespace slicereduce {

/// How a run ended, as its trainer knows it. Counts and times are of this process: a resumed run starts anew.
struct Outcome {
  std::optional<Accuracy> sampled;  ///< of the last evaluation
  std::optional<Accuracy> dense;
  std::optional<Accuracy> result;  ///< of the two the one that `top1` is
  double epochs = 0;
  std::int64_t wire_bytes_per_step = 0;  ///< of the last step; 0 where there was none
  std::int64_t images = 0;               ///< trained on by all ranks
  std::int64_t bad_images = 0;           ///< skipped, each counted once
  double train_s = 0;                    ///< without evaluation and checkpoints
  double wall_s = 0;
};

/// summary.json: see docs/files.md.
[[nodiscard]] nlohmann::ordered_json run_summary(const TrainOptions& options, int world_size,
                                                 std::int64_t image_size, const TrainingState& state,
                                                 const Outcome& outcome);

}  // namespace slicereduce
