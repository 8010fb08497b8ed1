#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "comm/gradient_reducer.hpp"
#include "core/profile_range.hpp"
#include "models/network.hpp"
#include "sampling/error_feedback.hpp"
#include "sampling/placed_plan.hpp"
#include "sampling/sliced_sgd.hpp"

namespace slicereduce {

enum class ReduceWhat {
  slices,  ///< the compact network's gradient
  dense,   ///< the same gradient among the zeros of all others: what slices save, for comparison
};

/// Where a step's time goes, in milliseconds of this rank. Their sum, without comm_ms, is the step without
/// its data and its plans. On a GPU updates run on while the host waits, so more of them counts as exposed.
struct StepTimes {
  double gather_ms = 0;
  double forward_ms = 0;
  double backward_ms = 0;
  double exposed_comm_ms = 0;  ///< after backward, with nothing to do but to wait for AllReduces
  double optimizer_ms = 0;     ///< SGD over all weights, what the reducer has left to compute, the next norms
  double comm_ms = 0;          ///< in which an AllReduce was under way, hidden or not
};

struct StepResult {
  double loss = 0;  ///< mean over this rank's images
  std::int64_t wire_bytes = 0;
  bool stop_requested = false;  ///< by any rank; the same on all ranks
  /// False where the loss of any rank, or what was looked at of the gradient, was infinite or NaN; the same
  /// on all ranks. No weight was changed then, but what is owed is not to be used any more.
  bool finite = true;
  StepTimes times;
};

struct TrainingStepConfig {
  Precision precision = Precision::fp32;
  ReduceWhat reduce = ReduceWhat::slices;
  /// Whether what the reducer loses is owed in every step, not in those alone that send slices.
  bool owes_losses = false;
  /// Whether no weight changes before all of the gradient was looked at. Else a loss that is not finite is
  /// seen, but not what overflows later, on a 2-byte wire: that shows in the next loss.
  bool looks_before_updates = false;
  double label_smoothing = 0;
};

/// What a step runs on, and what of its gradient travels.
struct StepPlans {
  const Plan& network;           ///< what the network keeps
  const Plan* slices = nullptr;  ///< of the gradient, by the slice layout; none: all of the network's
  /// Whether all that is owed goes out, without approximation, and nothing is owed after it but a 2-byte
  /// wire's rounding, which is dropped.
  bool pays = false;
  DrawKey draws;                                 ///< of the step; its part is the microbatch
  std::optional<ProductApproximation> products;  ///< of the layers that may be sampled; none: exact
};

struct Microbatch {
  at::Tensor images;  ///< [n, C, H, W] float or bfloat16, channels_last, on the network's device
  at::Tensor labels;  ///< [n] int64, likewise
  /// n * world_size / global n, of all microbatches of all ranks: it makes the mean over ranks the mean over
  /// images where ranks have different numbers.
  double weight = 1;
  std::int64_t number = 0;  ///< of all microbatches of all ranks: it has random numbers of its own
};

/// A step's microbatches, made one after the other: one at a time has to fit into memory.
struct MicrobatchSource {
  MicrobatchSource(std::size_t how_many, std::function<Microbatch(std::size_t)> maker)
      : count(how_many), make(std::move(maker)) {}
  /// Those of `ready`, which outlive this.
  // NOLINTNEXTLINE(google-explicit-constructor)
  MicrobatchSource(std::span<const Microbatch> ready)
      : MicrobatchSource(ready.size(), [ready](std::size_t i) { return ready[i]; }) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  MicrobatchSource(const std::vector<Microbatch>& ready) : MicrobatchSource(std::span(ready)) {}

  std::size_t count;
  std::function<Microbatch(std::size_t)> make;
};

/// Where a gradient goes that is not sent at once.
struct Feedback {
  ErrorFeedback& memory;
  /// The network's parameters, cut as the slice layout says; empty where no step has slices.
  std::span<const SlicedParameter> slices;
};

/// One step of data-parallel SGD on the network that a plan leaves.
///
///   gather    compact weights from the dense ones that all ranks share
///   forward   through the compact network
///   backward  each gradient moves once, into its bucket; a full bucket starts its AllReduce
///   update    dense weights and momentum, from the mean of the slices, bucket by bucket as they come back
///
/// With feedback, what a rank owes is added to each gradient before it is sent, and what did not get through
/// is owed again.
class TrainingStep {
 public:
  /// All of them must outlive it.
  TrainingStep(Network& network, SlicedSgd& sgd, GradientReducer& reducer, TrainingStepConfig config,
               std::optional<Feedback> feedback = std::nullopt);
  ~TrainingStep();
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  /// Collective. The gradient is that of the weighted sum of the microbatches' losses: one reduction, one
  /// update. `wants_stop` of any rank reaches all of them with the step.
  /// Nothing is returned, and no weight changed, where ranks came with different plans. The step is then to
  /// be run again with a plan that all share; with feedback its gradients are owed already, and not computed
  /// twice. Throws Error(usage) where a device's memory is too small for the step, and what the reducer
  /// throws. After anything thrown, weights may be of both steps: start again from a checkpoint.
  [[nodiscard]] std::optional<StepResult> run(const StepPlans& plans, const MicrobatchSource& batches,
                                              double lr, bool wants_stop = false);

 private:
  void gather(const Plan& plan);
  void cut_gradients(const StepPlans& plans);
  void begin_reduction(const StepPlans& plans, bool wants_stop);
  void compute_gradients(const StepPlans& plans, const MicrobatchSource& batches, StepResult& result);
  [[nodiscard]] double compute_gradient(const StepPlans& plans, const Microbatch& batch, StepTimes& times);
  void take_gradient(std::size_t parameter, const at::Tensor& gradient);
  void send(std::size_t parameter, const at::Tensor& gradient);
  [[nodiscard]] std::optional<ReduceTimes> update(const StepPlans& plans, double lr, StepResult& result);
  [[nodiscard]] bool is_finite_throughout();
  void update_slots(std::size_t begin, std::size_t end, const StepPlans& plans, double lr);
  void owe_what_was_lost(std::size_t parameter, const Gradient& mean);
  void owe_all();
  /// Buckets fill from the last layer to the first, as backward runs.
  [[nodiscard]] std::size_t slot(std::size_t parameter) const;

  Network& network_;
  SlicedSgd& sgd_;
  GradientReducer& reducer_;
  TrainingStepConfig config_;
  std::optional<Feedback> feedback_;
  PlacedPlan full_plan_;
  CompactNetwork compact_;

  // Of the step under way
  std::span<const SlicedParameter> cut_;  ///< how gradients are cut
  PlacedPlan sent_;                       ///< and what of them is sent
  std::vector<at::Tensor> taken_;         ///< by parameter: what was sent, with feedback alone
  std::vector<at::Tensor> accumulated_;   ///< by parameter: of all microbatches but the last, fp32
  bool last_microbatch_ = true;
  ProfileSequence backward_;               ///< by parameter
  std::optional<StepResult> interrupted_;  ///< its gradients are owed; it only has to be sent
};

}  // namespace slicereduce
