#include "launcher/captured_step.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/isfinite.h>
#include <c10/core/StreamGuard.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "comm/agreement.hpp"
#include "comm/stream_reducer.hpp"
#include "core/device.hpp"
#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/profile_range.hpp"
#include "core/stream_marks.hpp"
#include "core/streams.hpp"
#include "core/text.hpp"
#include "launcher/gradient_hook.hpp"
#include "launcher/out_of_memory.hpp"
#include "sampling/memory_order.hpp"
#include "sampling/standing_plan.hpp"

namespace slicereduce {

namespace {

using Clock = std::chrono::steady_clock;

/// Where numbers of a device arrive that nobody waits for; on the CPU, where they are.
at::Tensor host_side_of(const at::Tensor& tensor) {
  return tensor.is_cpu() ? tensor
                         : at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
}

std::vector<std::int64_t> slot_numels(std::span<const SlicedParameter> parameters, const Plan& plan) {
  std::vector<std::int64_t> numels;
  for (std::size_t p = parameters.size(); p-- > 0;) {
    numels.push_back(parameters[p].shape.compact_numel(plan));
  }
  return numels;
}

}  // namespace

CapturedStep::Shape::Shape(const Plan& plan, const Microbatch& batch)
    : images(batch.images.sizes().vec()), weight(batch.weight) {
  for (const ChannelSet& set : plan.sets) {
    kept.push_back(set.size());
  }
}

/// What is laid out for a step's shapes, and stays where it is: memory that every run reads and writes.
class CapturedStep::Standing {
 public:
  Standing(const CapturedStep& of, const Plan& plan, const Microbatch& batch)
      : of_(of),
        device_(of.network_.device()),
        stream_(stream_beside(device_)),
        plan_(plan, device_),
        images_(at::empty_like(batch.images)),
        labels_(at::empty_like(batch.labels)),
        shape_(plan, batch),
        rate_{.lr = at::empty({1}, number()), .goes = at::empty({1}, number().dtype(at::kInt))},
        outcome_(at::empty({2}, number())),
        outcome_here_(host_side_of(outcome_)),
        indices_here_(host_side_of(plan_.placed().indices())),
        reducer_(of.communicator_, of.config_.reducer, slot_numels(of.network_.parameters(), plan)),
        marks_(make_stream_marks(device_, kMarks)),
        graph_(make_device_graph(device_)) {}

  [[nodiscard]] bool fits(const Shape& shape) const { return shape == shape_; }
  /// As it was set, or found at the end of a step whose result was asked for.
  [[nodiscard]] const Plan& plan() const { return plan_.placed().plan(); }

  /// Gives the device all of a step.
  void start(const Plan& plan, const Microbatch& batch, double lr) {
    const ProfileRange range("step at once");
    const c10::Stream before = current_stream(device_);
    c10::OptionalStreamGuard guard;
    if (stream_) {
      guard.reset_stream(*stream_);
      go_on_after(before);  // the batch may still be on its way
    }
    if (plan != this->plan()) {
      plan_.set(plan);
    }
    images_.copy_(batch.images, /*non_blocking=*/true);
    labels_.copy_(batch.labels, /*non_blocking=*/true);
    rate_.lr.fill_(lr);
    graph_->run([this] { work(); });
    outcome_here_.copy_(outcome_, /*non_blocking=*/true);
    indices_here_.copy_(plan_.placed().indices(), /*non_blocking=*/true);
    marks_->record(kDone);
    of_.sgd_.ran_again();
  }

  [[nodiscard]] bool done() const { return marks_->passed(kDone); }

  [[nodiscard]] std::string what_is_late() const {
    const auto bucket = reducer_.late_bucket();
    return bucket ? concat("allreduce of bucket ", *bucket) : "a step on this rank's device";
  }

  /// Once it is done.
  [[nodiscard]] StepResult result() {
    if (of_.config_.finds_largest) {
      plan_.read(indices_here_);
    }
    const auto* outcome = outcome_here_.const_data_ptr<float>();
    const ReduceTimes reduced = reducer_.times();
    StepResult result{.loss = outcome[0], .wire_bytes = reduced.wire_bytes, .finite = outcome[1] != 0};
    result.times.gather_ms = marks_->ms_between(kBegun, kGathered);
    result.times.forward_ms = marks_->ms_between(kGathered, kForwarded);
    result.times.backward_ms = marks_->ms_between(kForwarded, kBacked);
    result.times.exposed_comm_ms = reduced.exposed_ms;
    result.times.optimizer_ms = marks_->ms_between(kBacked, kUpdated) - reduced.exposed_ms;
    result.times.comm_ms = reduced.comm_ms;
    return result;
  }

 private:
  static constexpr std::size_t kBegun = 0;
  static constexpr std::size_t kGathered = 1;
  static constexpr std::size_t kForwarded = 2;
  static constexpr std::size_t kBacked = 3;
  static constexpr std::size_t kUpdated = 4;
  static constexpr std::size_t kDone = 5;
  static constexpr std::size_t kMarks = 6;

  [[nodiscard]] at::TensorOptions number() const { return at::TensorOptions(device_).dtype(at::kFloat); }

  /// What is captured.
  void work() {
    marks_->record(kBegun);
    gather();
    marks_->record(kGathered);
    const at::Tensor logits = of_.network_.forward(compact_, images_, of_.network_.statistics(),
                                                   {.draws = {}, .products = nullptr});
    const at::Tensor loss = at::cross_entropy_loss(logits, labels_, {}, at::Reduction::Mean,
                                                   /*ignore_index=*/-100, of_.config_.step.label_smoothing);
    outcome_.select(0, 0).copy_(loss.detach());
    marks_->record(kForwarded);
    reducer_.begin();
    (shape_.weight == 1.0 ? loss : loss * shape_.weight).backward();
    marks_->record(kBacked);
    update();
    marks_->record(kUpdated);
  }

  void gather() {
    of_.network_.gather(plan_.placed(), of_.config_.step.precision, compact_);
    for (std::size_t p = 0; p < compact_.leaves.size(); ++p) {
      take_gradients_of(compact_.leaves[p], [this, p](const at::Tensor& gradient) {
        reducer_.add(slot(p), in_memory_order(gradient));
      });
    }
  }

  /// As TrainingStep does: a loss that is not finite, on any rank, shows in the mean of the classifier's
  /// bias, which comes first; unless all of the gradient is to be looked at.
  void update() {
    const std::size_t buckets = reducer_.buckets();
    std::size_t waited = 0;
    std::size_t arrived = 0;
    const auto wait_for_next = [&] { arrived = reducer_.wait_for(waited++); };
    wait_for_next();
    while (of_.config_.step.looks_before_updates && waited < buckets) {
      wait_for_next();
    }
    look(of_.config_.step.looks_before_updates ? arrived : 1);
    for (std::size_t done = 0;;) {
      update_slots(std::exchange(done, arrived), arrived);
      if (waited == buckets) {
        break;
      }
      wait_for_next();
    }
    of_.sgd_.end_step();
    if (of_.config_.finds_largest) {
      plan_.keep_largest(of_.sgd_.norms_in_place());  // this step has done with its own
    }
    outcome_.select(0, 1).copy_(rate_.goes.select(0, 0));
  }

  /// Whether weights may change: the first slots' means are numbers.
  void look(std::size_t slots) {
    at::Tensor finite = at::isfinite(reducer_.mean(0)).all();
    for (std::size_t slot = 1; slot < slots; ++slot) {
      finite = finite.logical_and(at::isfinite(reducer_.mean(slot)).all());
    }
    rate_.goes.select(0, 0).copy_(finite);
  }

  void update_slots(std::size_t begin, std::size_t end) {
    const auto parameters = of_.network_.parameters();
    const std::size_t first = parameters.size() - end;
    std::vector<Gradient> means;
    for (std::size_t p = first; p < parameters.size() - begin; ++p) {
      means.emplace_back(reducer_.mean(slot(p)));
    }
    of_.sgd_.update(first, parameters.subspan(first, means.size()), plan_.placed(), means, rate_);
  }

  /// Buckets fill from the last layer to the first, as backward runs.
  [[nodiscard]] std::size_t slot(std::size_t parameter) const {
    return of_.network_.parameters().size() - 1 - parameter;
  }

  const CapturedStep& of_;
  const at::Device device_;
  const std::optional<c10::Stream> stream_;  ///< not the default one: that can't be captured
  StandingPlan plan_;
  CompactNetwork compact_;
  at::Tensor images_;
  at::Tensor labels_;
  const Shape shape_;
  LiveRate rate_;
  at::Tensor outcome_;       ///< [2]: the loss, and whether weights changed
  at::Tensor outcome_here_;  ///< the same in host memory
  at::Tensor indices_here_;  ///< and of the plan
  StreamReducer reducer_;
  std::unique_ptr<StreamMarks> marks_;
  std::unique_ptr<DeviceGraph> graph_;  ///< before all that it refers to
};

CapturedStep::CapturedStep(Network& network, SlicedSgd& sgd, Communicator& communicator,
                           const CapturedStepConfig& config, TrainingStep& otherwise)
    : network_(network),
      sgd_(sgd),
      communicator_(communicator),
      config_(config),
      otherwise_(otherwise),
      recurs_(!has_dropout(network.layout().steps)) {
  require(config_.step.reduce == ReduceWhat::slices, "a captured step sends slices");
}

CapturedStep::~CapturedStep() = default;

bool CapturedStep::serves(const StepPlans& plans, const MicrobatchSource& batches) {
  return batches.count == 1 && plans.slices == nullptr && !plans.products &&
         std::ranges::all_of(plans.network.sets, &std::vector<float>::empty, &ChannelSet::scale);
}

const Plan* CapturedStep::largest() const {
  return was_standing_ && config_.finds_largest ? &standing_->plan() : nullptr;
}

std::optional<StepResult> CapturedStep::run(const StepPlans& plans, const MicrobatchSource& batches,
                                            double lr, bool wants_stop,
                                            const std::function<void()>& meanwhile) {
  was_standing_ = false;
  if (!recurs_ || !serves(plans, batches)) {
    return otherwise_.run(plans, batches, lr, wants_stop);
  }
  const std::array ready{batches.make(0)};
  const Microbatch& batch = ready.front();
  const Shape shape(plans.network, batch);
  if (!standing_ || !standing_->fits(shape)) {
    if (std::exchange(seen_, shape) != shape) {
      return otherwise_.run(plans, std::span<const Microbatch>(ready), lr, wants_stop);
    }
    standing_.reset();  // its memory first
    standing_ = std::make_unique<Standing>(*this, plans.network, batch);
  }
  seen_ = {};
  was_standing_ = true;
  Agreement agreement(plans.network.digest(), wants_stop);
  std::unique_ptr<Pending> agreeing;
  if (communicator_.world_size() > 1) {
    agreeing = communicator_.start_allreduce_min(agreement.numbers());
  }
  try {
    standing_->start(plans.network, batch, lr);
  } catch (const c10::OutOfMemoryError& failure) {
    throw does_not_fit(batch.labels.numel(), network_.device(), failure);
  }
  if (meanwhile) {
    meanwhile();
  }
  await_end(agreeing.get());
  if (agreement.disagreed()) {
    return std::nullopt;
  }
  StepResult result = standing_->result();
  result.stop_requested = agreement.stop_requested();
  return result;
}

void CapturedStep::await_end(Pending* agreeing) const {
  constexpr std::chrono::microseconds kPause{20};
  const auto started = Clock::now();
  const Communicator::Wait wait(communicator_);
  bool agreed = agreeing == nullptr;
  while (true) {
    agreed = agreed || agreeing->test();
    if (agreed && standing_->done()) {
      return;
    }
    communicator_.require_healthy();
    const std::chrono::duration<double> elapsed = Clock::now() - started;
    if (elapsed > config_.reducer.timeout) {
      const std::string what = agreed ? standing_->what_is_late() : "agreement on the step's plan";
      communicator_.give_up(
          concat(what, " is not done after ", elapsed.count(),
                 " s: a rank has stopped or is very slow, or a link is down (--timeout allows ",
                 std::chrono::duration<double>(config_.reducer.timeout).count(), " s)"));
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace slicereduce
