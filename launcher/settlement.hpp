#pragma once

#include <cstdint>
#include <optional>

#include "comm/communicator.hpp"
#include "comm/gradient_reducer.hpp"
#include "core/log.hpp"
#include "launcher/train_options.hpp"
#include "launcher/training_state.hpp"
#include "models/network.hpp"

namespace slicereduce {

/// What ranks settle together where their plans differ, their replicas do, or numbers are none: as the
/// options say, the run goes on or ends with a SharedError. Steps are those of the state: the one under way
/// comes after its `steps_done`.
class Settlement {
 public:
  /// All of them must outlive it.
  Settlement(const TrainOptions& options, TrainingState& state, GradientReducer& reducer,
             Communicator& communicator, Log log);

  /// Keeps what is needed to leave a step out.
  void before_step();
  /// Collective, where ranks drew different plans: all take rank 0's (--on-disagreement).
  void settle_plans();
  void was_finite() { left_out_ = 0; }
  /// Collective. A loss or a gradient that is no number, in a step that changed no weight: the run goes on
  /// with weights, momentum and statistics of before, and nothing owed (--on-nonfinite).
  void settle_nonfinite(double own_loss);

  /// Collective. Throws where ranks hold different weights or momentum.
  void require_equal_replicas() const;
  /// Ranks hold the same, and so do they find.
  void require_finite_network() const;

 private:
  [[nodiscard]] bool leads() const { return communicator_.rank() == 0; }

  const TrainOptions& options_;
  TrainingState& state_;
  GradientReducer& reducer_;
  Communicator& communicator_;
  Log log_;
  std::int64_t left_out_ = 0;                        ///< steps in a row
  std::optional<NormStatistics> statistics_before_;  ///< of the step under way, where it may be left out
};

}  // namespace slicereduce
