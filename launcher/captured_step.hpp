#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/gradient_reducer.hpp"
#include "launcher/device_graph.hpp"
#include "launcher/training_step.hpp"
#include "models/network.hpp"
#include "sampling/sliced_sgd.hpp"

namespace slicereduce {

struct CapturedStepConfig {
  TrainingStepConfig step;
  ReducerConfig reducer;
  bool finds_largest =
      false;  ///< whether a step also finds the channels of the largest norms, for the next plan
};

/// TrainingStep for a device that is given a whole step at once: the host neither launches its hundreds of
/// small kernels one by one nor waits between them, but once, for the step's end. The weights are the same
/// bits.
///
/// It takes steps of one microbatch, exact products and no dropout, whose gradient is sent as it is, bucket
/// by bucket, and whose sets scale nothing; once their shape has come twice in a row. Another one in between,
/// as an epoch's last batch may have, leaves the graph as it is; one that stays gets a graph of its own in
/// its place.
class CapturedStep {
 public:
  /// All of them must outlive it. `otherwise` runs the steps that don't recur; its reducer and this one use
  /// `communicator` in turn.
  CapturedStep(Network& network, SlicedSgd& sgd, Communicator& communicator, const CapturedStepConfig& config,
               TrainingStep& otherwise);
  ~CapturedStep();

  /// So many steps of one shape come before those that are only run again: the first, which nobody knows to
  /// recur, what DeviceGraph runs as it is, and the one that it captures.
  static constexpr std::int64_t kStepsBefore = 1 + DeviceGraph::kRunsBefore + 1;

  CapturedStep(const CapturedStep&) = delete;
  CapturedStep& operator=(const CapturedStep&) = delete;
  CapturedStep(CapturedStep&&) = delete;
  CapturedStep& operator=(CapturedStep&&) = delete;

  /// Which channels of each site had the largest norms at the end of the last step, as the device has found
  /// out in passing: as many as that step kept. Nothing where that step ran otherwise.
  [[nodiscard]] const Plan* largest() const;

  /// See TrainingStep::run(), but that weights have changed where ranks came with different plans, and not to
  /// the same. `meanwhile` is called once the device has all that it needs, before the host waits.
  [[nodiscard]] std::optional<StepResult> run(const StepPlans& plans, const MicrobatchSource& batches,
                                              double lr, bool wants_stop = false,
                                              const std::function<void()>& meanwhile = {});

  /// Whether a step is of the kind that it takes.
  [[nodiscard]] static bool serves(const StepPlans& plans, const MicrobatchSource& batches);

 private:
  class Standing;

  /// What has to be the same in a step that recurs.
  struct Shape {
    Shape() = default;
    Shape(const Plan& plan, const Microbatch& batch);
    bool operator==(const Shape&) const = default;

    std::vector<std::int64_t> kept;  ///< channels, by site
    std::vector<std::int64_t> images;
    double weight = 0;
  };

  void await_end(Pending* agreeing) const;

  Network& network_;
  SlicedSgd& sgd_;
  Communicator& communicator_;
  CapturedStepConfig config_;
  TrainingStep& otherwise_;
  const bool recurs_;                   ///< whether any step of this network does
  Shape seen_;                          ///< of the last step, if that did not fit
  std::unique_ptr<Standing> standing_;  ///< of the shape that came twice in a row
  bool was_standing_ = false;           ///< the last step
};

}  // namespace slicereduce
