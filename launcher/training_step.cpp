#include "launcher/training_step.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <c10/util/Exception.h>

#include <array>
#include <utility>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/finite.hpp"
#include "core/profile_range.hpp"
#include "core/text.hpp"
#include "launcher/gradient_hook.hpp"
#include "launcher/out_of_memory.hpp"
#include "launcher/stopwatch.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce {

namespace {

SlotShape slot_shape(const ParameterShape& shape, const Plan& plan) {
  const std::int64_t taps = shape.taps();
  const auto kept = [&](std::optional<std::size_t> site, std::int64_t all) {
    return site ? plan.sets[*site].size() : all;
  };
  SlotShape slot{.rows = kept(shape.row_site, shape.rows()),
                 .columns = kept(shape.column_site, shape.columns()) * taps,
                 .whole_columns = shape.columns() * taps,
                 .kept = {},
                 .groups = taps};
  if (shape.column_site && !plan.sets[*shape.column_site].full()) {
    slot.kept = plan.sets[*shape.column_site].kept;
  }
  return slot;
}

bool all_finite(const Gradient& gradient) {
  return gradient.has_factors() ? is_finite(gradient.left) && is_finite(gradient.right)
                                : is_finite(gradient.values);
}

}  // namespace

TrainingStep::TrainingStep(Network& network, SlicedSgd& sgd, GradientReducer& reducer,
                           TrainingStepConfig config, std::optional<Feedback> feedback)
    : network_(network),
      sgd_(sgd),
      reducer_(reducer),
      config_(config),
      feedback_(feedback),
      full_plan_(Plan::full(network.layout().sites), network.device()) {
  require(config_.reduce == ReduceWhat::slices || !feedback_, "a dense reduction owes nothing");
}

TrainingStep::~TrainingStep() = default;

std::size_t TrainingStep::slot(std::size_t parameter) const {
  return network_.parameters().size() - 1 - parameter;
}

std::optional<StepResult> TrainingStep::run(const StepPlans& plans, const MicrobatchSource& batches,
                                            double lr, bool wants_stop) {
  StepResult result = interrupted_.value_or(StepResult{});
  Stopwatch watch(network_.device());
  gather(plans.network);
  cut_gradients(plans);
  begin_reduction(plans, wants_stop);
  result.times.gather_ms = watch.lap_ms();

  if (interrupted_) {
    for (std::size_t p = cut_.size(); p-- > 0;) {
      send(p, {});
    }
  } else {
    compute_gradients(plans, batches, result);
  }
  watch.lap_ms();
  const std::optional<ReduceTimes> reduced = update(plans, lr, result);
  if (!reduced) {
    if (feedback_) {
      owe_all();
      interrupted_ = result;
    }
    return std::nullopt;
  }
  interrupted_.reset();
  result.times.comm_ms = reduced->comm_ms;
  result.wire_bytes = reduced->wire_bytes;
  result.stop_requested = reduced->stop_requested;
  result.times.exposed_comm_ms = reduced->exposed_ms;
  result.times.optimizer_ms = watch.lap_ms() - reduced->exposed_ms;
  return result;
}

void TrainingStep::gather(const Plan& plan) {
  const ProfileRange range("gather");
  network_.gather(plan, config_.precision, compact_);
  for (std::size_t p = 0; p < compact_.leaves.size(); ++p) {
    take_gradients_of(compact_.leaves[p],
                      [this, p](const at::Tensor& gradient) { take_gradient(p, gradient); });
  }
}

void TrainingStep::cut_gradients(const StepPlans& plans) {
  if (plans.slices != nullptr) {
    require(feedback_.has_value(), "gradients are cut, but nothing remembers the rest of them");
    cut_ = feedback_->slices;
    sent_ = PlacedPlan(*plans.slices, network_.device());
  } else {
    cut_ = network_.parameters();
    sent_ = config_.reduce == ReduceWhat::dense ? full_plan_ : compact_.plan;
  }
  taken_.assign(cut_.size(), {});
  accumulated_.assign(cut_.size(), {});
}

void TrainingStep::begin_reduction(const StepPlans& plans, bool wants_stop) {
  std::vector<SlotShape> slots(cut_.size());
  for (std::size_t p = 0; p < cut_.size(); ++p) {
    slots[slot(p)] = slot_shape(cut_[p].shape, sent_.plan());
    slots[slot(p)].as_it_is = plans.pays;
  }
  const std::array digests{plans.network.digest(), sent_.plan().digest()};
  reducer_.begin(slots, digest_of(std::as_bytes(std::span(digests))), wants_stop);
}

void TrainingStep::compute_gradients(const StepPlans& plans, const MicrobatchSource& batches,
                                     StepResult& result) {
  double loss_sum = 0;
  std::int64_t images = 0;
  for (std::size_t i = 0; i < batches.count; ++i) {
    const Microbatch batch = batches.make(i);
    const std::int64_t size = batch.labels.numel();
    last_microbatch_ = i + 1 == batches.count;
    try {
      loss_sum += compute_gradient(plans, batch, result.times) * static_cast<double>(size);
    } catch (const c10::OutOfMemoryError& failure) {
      throw does_not_fit(size, network_.device(), failure);
    }
    images += size;
  }
  result.loss = loss_sum / static_cast<double>(images);
}

/// Gives the loss.
double TrainingStep::compute_gradient(const StepPlans& plans, const Microbatch& batch, StepTimes& times) {
  constexpr std::uint64_t kMostLayers = 1U << 20;
  Stopwatch watch(network_.device());
  DrawKey key = plans.draws;
  key.part = kMostLayers * static_cast<std::uint64_t>(batch.number);
  std::optional<ProfileRange> range("forward");
  const at::Tensor logits =
      network_.forward(compact_, batch.images, network_.statistics(),
                       {.draws = key, .products = plans.products ? &*plans.products : nullptr});
  const at::Tensor loss = at::cross_entropy_loss(logits, batch.labels, {}, at::Reduction::Mean,
                                                 /*ignore_index=*/-100, config_.label_smoothing);
  const auto value = loss.item<double>();
  times.forward_ms += watch.lap_ms();
  range.emplace("backward");
  backward_.begin();
  (batch.weight == 1.0 ? loss : loss * batch.weight).backward();
  times.backward_ms += watch.lap_ms();
  return value;
}

void TrainingStep::take_gradient(std::size_t parameter, const at::Tensor& gradient) {
  backward_.end_part(network_.layout().parameters[parameter].name);
  at::Tensor& sum = accumulated_[parameter];
  if (!sum.defined()) {
    // In fp32: sums in bf16 would lose what later microbatches add.
    sum = last_microbatch_ ? gradient : gradient.to(at::kFloat);
  } else {
    sum.add_(gradient);
  }
  if (last_microbatch_) {
    send(parameter, std::exchange(sum, at::Tensor()));
  }
  backward_.begin();
}

void TrainingStep::send(std::size_t parameter, const at::Tensor& gradient) {
  const auto& shape = cut_[parameter].shape;
  if (feedback_) {
    taken_[parameter] = feedback_->memory.take(parameter, shape, sent_, gradient);
    reducer_.add(slot(parameter), taken_[parameter]);
  } else if (config_.reduce == ReduceWhat::dense) {
    reducer_.add(slot(parameter), scatter_slices(shape, compact_.plan, gradient));
  } else {
    reducer_.add(slot(parameter), in_memory_order(gradient));
  }
}

/// Weights of the last layers change while the first layers' means are still on their way. The very first is
/// that of the classifier's bias: a loss that is not finite, on any rank, shows in it on all of them, for no
/// message and no pass over the gradient. (Unless all of it is to be looked at first.)
std::optional<ReduceTimes> TrainingStep::update(const StepPlans& plans, double lr, StepResult& result) {
  const ProfileRange range("update");
  for (std::size_t done = 0; done < cut_.size();) {
    const std::size_t reduced = reducer_.wait_for(done);
    if (reduced == 0) {
      break;  // ranks disagree, which wait() says again
    }
    if (done == 0) {
      result.finite = config_.looks_before_updates ? is_finite_throughout() : all_finite(reducer_.mean(0));
    }
    if (result.finite) {
      update_slots(done, reduced, plans, lr);
    }
    done = reduced;
  }
  const auto times = reducer_.wait();
  if (times && result.finite) {
    sgd_.end_step();
    taken_.clear();
  }
  return times;
}

bool TrainingStep::is_finite_throughout() {
  bool finite = true;
  for (std::size_t done = 0; done < cut_.size();) {
    const std::size_t reduced = reducer_.wait_for(done);
    if (reduced == 0) {
      break;
    }
    for (; done < reduced; ++done) {
      finite = finite && all_finite(reducer_.mean(done));
    }
  }
  return finite;
}

void TrainingStep::update_slots(std::size_t begin, std::size_t end, const StepPlans& plans, double lr) {
  const std::size_t first = cut_.size() - end;
  std::vector<Gradient> means;
  for (std::size_t p = first; p < cut_.size() - begin; ++p) {
    means.push_back(reducer_.mean(slot(p)));
  }
  sgd_.update(first, cut_.subspan(first, means.size()), sent_, means, lr);
  const bool owes = reducer_.loses() && !plans.pays && (config_.owes_losses || plans.slices != nullptr);
  for (std::size_t i = 0; i < means.size() && feedback_ && owes; ++i) {
    owe_what_was_lost(first + i, means[i]);
  }
}

void TrainingStep::owe_what_was_lost(std::size_t parameter, const Gradient& mean) {
  if (!mean.has_factors()) {
    reducer_.subtract_sent(slot(parameter), taken_[parameter]);
  }
  feedback_->memory.give_back(parameter, cut_[parameter].shape, sent_, taken_[parameter],
                              mean.has_factors() ? mean : Gradient());
}

void TrainingStep::owe_all() {
  for (std::size_t p = 0; p < taken_.size(); ++p) {
    feedback_->memory.give_back(p, cut_[p].shape, sent_, taken_[p]);
  }
  taken_.clear();
}

}  // namespace slicereduce
