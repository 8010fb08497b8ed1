#include "launcher/network_evaluation.hpp"

namespace slicereduce {

NetworkEvaluation::NetworkEvaluation(const TrainOptions& options, View view, TrainingState& state,
                                     EvaluationImages images, Communicator& communicator)
    : options_(options), view_(view), state_(state), images_(images), communicator_(communicator) {}

bool NetworkEvaluation::run(std::int64_t epoch, const std::function<bool()>& stop_requested,
                            const Tell& tell) {
  forget();
  average_statistics(state_.network.statistics(), communicator_);
  const auto accuracy_of = [&](const Plan& plan, NormStatistics& statistics) {
    return evaluate(state_.network, plan, statistics, view_, images_.validation, images_.validation_size,
                    options_.step.batch_size, communicator_, stop_requested);
  };
  const auto stops = [&] { return any_wants_to_stop(stop_requested, communicator_); };
  if (stops()) {
    return false;
  }
  if (wants("sampled")) {
    sampled_ = accuracy_of(state_.planner.current(), state_.network.statistics());
    if (!sampled_ || stops()) {
      forget();
      return false;
    }
  }
  if (wants("dense")) {
    if (recalibrates()) {
      state_.recalibrated =
          recalibrate(state_.network, view_, images_.training, images_.order, epoch,
                      options_.recalibrate_batches, options_.step.batch_size, communicator_);
    }
    dense_ = accuracy_of(Plan::full(state_.planner.sites()),
                         state_.recalibrated ? *state_.recalibrated : state_.network.statistics());
    if (!dense_) {
      forget();
      return false;
    }
  }
  evaluated_at_ = state_.steps_done;
  // All or nothing: what is stopped is evaluated, and told, by the run that goes on.
  if (sampled_) {
    tell("sampled", *sampled_);
  }
  if (dense_) {
    tell("dense", *dense_);
  }
  return true;
}

void NetworkEvaluation::forget() {
  sampled_.reset();
  dense_.reset();
  state_.recalibrated.reset();
  evaluated_at_ = -1;
}

bool NetworkEvaluation::recalibrates() const {
  const bool has_norms = !state_.network.layout().statistics.empty();
  return has_norms && !state_.ran_exactly() && options_.recalibrate_batches > 0;
}

bool NetworkEvaluation::result_is_sampled() const {
  return !state_.planner.current().full() && state_.planner.sampler().settles();
}

const std::optional<Accuracy>& NetworkEvaluation::result() const {
  const auto& own = result_is_sampled() ? sampled_ : dense_;
  const auto& other = result_is_sampled() ? dense_ : sampled_;
  return own ? own : other;
}

bool NetworkEvaluation::wants(const std::string& network) const {
  if (state_.planner.current().full()) {
    return network == "dense";  // they are one and the same
  }
  const std::string& choice = options_.eval_network;
  return choice == "both" || choice == network ||
         (choice == "auto" && (network == "sampled") == result_is_sampled());
}

}  // namespace slicereduce
