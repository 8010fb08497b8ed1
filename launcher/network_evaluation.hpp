#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "comm/communicator.hpp"
#include "imagenet/epoch_order.hpp"
#include "imagenet/loader.hpp"
#include "launcher/evaluation.hpp"
#include "launcher/train_options.hpp"
#include "launcher/training_state.hpp"

namespace slicereduce {

/// Where an evaluation's images come from. All of them must outlive it.
struct EvaluationImages {
  Loader& training;  ///< batch norm is measured anew with its images
  EpochOrder& order;
  Loader& validation;
  std::int64_t validation_size = 0;
};

/// What a run's networks are worth on the validation images: the sampled one, of the channels that the last
/// step kept, and the dense one, of all.
class NetworkEvaluation {
 public:
  using Tell = std::function<void(const std::string& network, const Accuracy& accuracy)>;

  /// All of them must outlive it.
  NetworkEvaluation(const TrainOptions& options, View view, TrainingState& state, EvaluationImages images,
                    Communicator& communicator);

  /// Collective. Evaluates what --eval-network names, and then tells `tell` of each. Leaves the exact
  /// network's statistics in the state. False where a rank's `stop_requested` said so: nothing is known then,
  /// nor told.
  [[nodiscard]] bool run(std::int64_t epoch, const std::function<bool()>& stop_requested, const Tell& tell);

  /// Of the last run() that came to its end.
  [[nodiscard]] const std::optional<Accuracy>& sampled() const { return sampled_; }
  [[nodiscard]] const std::optional<Accuracy>& dense() const { return dense_; }
  /// Whether the run's result is the sampled network: see --eval-network auto.
  [[nodiscard]] bool result_is_sampled() const;
  /// Its accuracy, or the other network's where --eval-network leaves it out.
  [[nodiscard]] const std::optional<Accuracy>& result() const;
  /// Whether there was none since the state's last step.
  [[nodiscard]] bool is_of_before() const { return evaluated_at_ != state_.steps_done; }

 private:
  [[nodiscard]] bool wants(const std::string& network) const;
  [[nodiscard]] bool recalibrates() const;
  void forget();

  const TrainOptions& options_;
  const View view_;
  TrainingState& state_;
  const EvaluationImages images_;
  Communicator& communicator_;
  std::optional<Accuracy> sampled_;
  std::optional<Accuracy> dense_;
  std::int64_t evaluated_at_ = -1;  ///< steps done by then
};

}  // namespace slicereduce
