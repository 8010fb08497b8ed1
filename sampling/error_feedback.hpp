#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <span>
#include <vector>

#include "core/gradient.hpp"
#include "sampling/placed_plan.hpp"
#include "sampling/sliced_parameter.hpp"

namespace slicereduce {

/// What one rank owes: the part of its gradients that has not been sent yet. Whatever a step leaves out is
/// added to the next step's gradient, so that nothing is lost, only late: on average over ranks, sent + owed
/// == the sum of all gradients. (Error feedback: Seide et al. 2014, section 3.2; in PowerSGD, Vogels et al.
/// 2019, algorithm 2.) Each rank has its own; ranks share only what is sent.
///
///   slices = feedback.take(p, shape, plan, gradient);   what to send, no longer owed
///   ... slices travel; some of it may be lost on the way (rounding, low rank) ...
///   feedback.give_back(p, shape, plan, slices, sent);   owed again, less what was sent
class ErrorFeedback {
 public:
  /// For `parameters` parameters of dense fp32 memory each, which is taken when it is first needed.
  explicit ErrorFeedback(std::size_t parameters) : owed_(parameters), returned_(parameters) {}

  /// What `placed` keeps of owed + `gradient`, fp32, of compact sizes, in memory order; it is then no longer
  /// owed, and the rest of `gradient` is. `gradient`: of the parameter's dense sizes, or of compact ones
  /// (then it is all taken); in any order; float or bfloat16; undefined where there is nothing new. It
  /// belongs to this from now on. Throws Error(invariant) for other sizes.
  [[nodiscard]] at::Tensor take(std::size_t parameter, const ParameterShape& shape, const PlacedPlan& placed,
                                const at::Tensor& gradient);

  /// Owes what was taken with the same plan but not sent: `unsent` is fp32, in memory order, of compact
  /// sizes, and belongs to this from now on. Factors in `sent` are still to be subtracted from it; that waits
  /// for the next gradient, and costs no pass over memory of its own.
  void give_back(std::size_t parameter, const ParameterShape& shape, const PlacedPlan& placed,
                 const at::Tensor& unsent, const Gradient& sent = {});

  /// Owes nothing any more: after a gradient that was none.
  void forget();

  /// By parameter: fp32, dense, in memory order; undefined where nothing was ever owed.
  [[nodiscard]] std::span<at::Tensor> owed();

 private:
  /// What came back, as compact as it was: a plan that keeps the same of a parameter at the next step, as
  /// most do, takes it without a way through dense memory.
  struct Returned {
    ParameterShape shape;
    Placement placement;
    at::Tensor slice;  ///< 1-D, in memory order; undefined: nothing
    Gradient sent;     ///< factors to be subtracted from it, or nothing
  };
  [[nodiscard]] at::Tensor& dense(std::size_t parameter, const ParameterShape& shape, at::Device device);
  void settle(std::size_t parameter);

  std::vector<at::Tensor> owed_;  ///< besides what came back
  std::vector<Returned> returned_;
};

}  // namespace slicereduce
