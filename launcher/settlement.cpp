#include "launcher/settlement.hpp"

#include <cmath>
#include <utility>
#include <vector>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/host_name.hpp"
#include "core/text.hpp"
#include "launcher/consensus.hpp"
#include "launcher/plan_dispute.hpp"
#include "sampling/tensor_digest.hpp"

namespace slicereduce {

namespace {

constexpr std::int64_t kMostLeftOut = 10;  // steps in a row

constexpr const char* kDiverged =
    ", so training has diverged. Try a smaller --lr, a longer --warmup-epochs, or --wire bf16 in place of "
    "fp16. Checkpoints hold the weights from before";

/// Collective. "1", or "0, 1": the ranks; nothing where all are.
std::string whose_is_not_finite(double own_loss, Communicator& communicator) {
  const auto flags = allgather_texts(communicator, std::isfinite(own_loss) ? "" : "x");
  std::string list;
  for (std::size_t rank = 0; rank < flags.size(); ++rank) {
    if (!flags[rank].empty()) {
      list += concat(list.empty() ? "" : ", ", rank);
    }
  }
  return list;
}

}  // namespace

Settlement::Settlement(const TrainOptions& options, TrainingState& state, GradientReducer& reducer,
                       Communicator& communicator, Log log)
    : options_(options),
      state_(state),
      reducer_(reducer),
      communicator_(communicator),
      log_(std::move(log)) {}

void Settlement::before_step() {
  if (options_.on_nonfinite == "skip") {
    statistics_before_ = state_.network.statistics().clone();
  }
}

void Settlement::settle_plans() {
  std::vector<Planner*> planners{&state_.planner};
  if (state_.slices) {
    planners.push_back(&state_.slices->planner);
  }
  std::string dispute;
  for (const Planner* planner : planners) {
    const std::string found = describe_dispute(planner->sites(), planner->current(), communicator_);
    dispute += concat(dispute.empty() || found.empty() ? "" : "; ", found);
  }
  dispute = concat("step ", state_.steps_done + 1, ": ", dispute);
  if (options_.on_disagreement == "error") {
    throw SharedError(ErrorKind::invariant,
                      concat(dispute,
                             ". The ranks' weights have drifted apart: compare the machines' processors and "
                             "library versions, or go on with --on-disagreement broadcast"));
  }
  if (leads()) {
    log_.warn(concat(dispute, "; rank 0's choice is taken"));
  }
  for (Planner* planner : planners) {
    planner->adopt(broadcast_planner(planner->state(), communicator_));
  }
}

/// What travelled is the same on all ranks, so that they all come here.
void Settlement::settle_nonfinite(double own_loss) {
  const std::string whose = whose_is_not_finite(own_loss, communicator_);
  const std::string what =
      concat("step ", state_.steps_done + 1, ": ",
             whose.empty() ? "the gradient" : concat("the loss of rank ", whose), " is not finite");
  if (options_.on_nonfinite == "stop" || ++left_out_ > kMostLeftOut) {
    const std::string before =
        left_out_ > 0 ? concat(", nor were the ", kMostLeftOut, " before it, which were skipped") : "";
    throw SharedError(ErrorKind::diverged, concat(what, before, kDiverged));
  }
  state_.network.statistics().copy_from(*statistics_before_);
  statistics_before_.reset();
  if (state_.memory) {
    state_.memory->forget();
  }
  reducer_.remember({});
  if (leads()) {
    log_.warn(concat(what, ": skipped on all ranks (--on-nonfinite skip)"));
  }
}

void Settlement::require_equal_replicas() const {
  const Facts own{{"weights", to_hex(state_.network.weights_digest())},
                  {"momentum", to_hex(digest_of_tensors(state_.sgd.momentum()))}};
  const std::string drift = differences(communicator_, own);
  if (drift.empty()) {
    return;
  }
  const auto hosts = allgather_texts(communicator_, host_name());
  std::string others;
  for (const int rank : dissenters(communicator_, own.at("weights") + own.at("momentum"))) {
    others +=
        concat("\nrank ", rank, " on ", hosts[static_cast<std::size_t>(rank)], ", holding what most don't");
  }
  throw SharedError(
      ErrorKind::invariant,
      concat("after step ", state_.steps_done, " the ranks hold different weights or momentum:", drift,
             others,
             "\nThe run can't be trusted from the last checkpoint on. Compare the machines' processors "
             "and library versions, and test their memory"));
}

void Settlement::require_finite_network() const {
  if (!state_.network.is_finite()) {  // on all ranks: they hold the same
    throw SharedError(
        ErrorKind::diverged,
        concat("after step ", state_.steps_done,
               ": the network's weights, or batch norm's statistics, are not all finite", kDiverged));
  }
}

}  // namespace slicereduce
