#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "comm/reducer.hpp"
#include "models/network.hpp"
#include "sampling/placed_plan.hpp"
#include "sampling/sliced_sgd.hpp"

namespace slicereduce {

enum class ReduceWhat {
  slices,  ///< the compact network's gradient
  dense,   ///< the same gradient among the zeros of all others: what slices save, for comparison
};

/// Where a step's time goes, in milliseconds of this rank. Their sum is the step without its data.
struct StepTimes {
  double gather_ms = 0;
  double forward_ms = 0;
  double backward_ms = 0;
  double exposed_comm_ms = 0;  ///< in which nothing but the AllReduce was left to wait for
  double optimizer_ms = 0;     ///< SGD over all weights, and the norms for the next plan
  double comm_ms = 0;          ///< in which an AllReduce was under way, hidden or not
};

struct StepResult {
  double loss = 0;  ///< mean over this rank's images
  std::int64_t wire_bytes = 0;
  bool stop_requested = false;  ///< by any rank; the same on all ranks
  StepTimes times;
};

struct TrainingStepConfig {
  Precision precision = Precision::fp32;
  ReduceWhat reduce = ReduceWhat::slices;
  double label_smoothing = 0;
};

/// One step of data-parallel SGD on the network that a plan leaves.
///
///   gather    compact weights from the dense ones that all ranks share
///   forward   through the compact network
///   backward  each gradient moves once, into its bucket; a full bucket starts its AllReduce
///   wait      for the last of them
///   optimizer dense weights and momentum from the mean of the compact gradients
class TrainingStep {
 public:
  /// All three must outlive it.
  TrainingStep(Network& network, SlicedSgd& sgd, Reducer& reducer, TrainingStepConfig config);
  ~TrainingStep();
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  /// Collective. `images` [n, C, H, W] float, channels_last, and `labels` [n] int64 on the network's device.
  /// `weight` is n * world_size /
  /// global n: it makes the mean over ranks the mean over images where ranks have different numbers.
  /// `wants_stop` of any rank reaches all of them with the step.
  /// Nothing is returned, and no weight changed, where ranks came with different plans.
  [[nodiscard]] std::optional<StepResult> run(const Plan& plan, const at::Tensor& images,
                                              const at::Tensor& labels, double weight, double lr,
                                              bool wants_stop = false);

 private:
  class GradientHook;

  void gather(const Plan& plan);
  void begin_reduction(const Plan& plan, bool wants_stop);
  void take_gradient(std::size_t parameter, const at::Tensor& leaf);
  void optimize(double lr);
  /// Buckets fill from the last layer to the first, as backward runs.
  [[nodiscard]] std::size_t slot(std::size_t parameter) const;

  Network& network_;
  SlicedSgd& sgd_;
  Reducer& reducer_;
  TrainingStepConfig config_;
  PlacedPlan full_plan_;
  CompactNetwork compact_;
};

}  // namespace slicereduce
