#include "launcher/training_step.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <utility>

#include "core/error.hpp"
#include "launcher/stopwatch.hpp"

namespace slicereduce {

/// Called by autograd once a leaf's gradient is complete, in the order in which backward reaches them.
class TrainingStep::GradientHook final : public torch::autograd::PostAccumulateGradHook {
 public:
  GradientHook(TrainingStep& step, std::size_t parameter) : step_(step), parameter_(parameter) {}
  void operator()(const at::Tensor& leaf) override { step_.take_gradient(parameter_, leaf); }

 private:
  TrainingStep& step_;
  std::size_t parameter_;
};

TrainingStep::TrainingStep(Network& network, SlicedSgd& sgd, Reducer& reducer, TrainingStepConfig config)
    : network_(network),
      sgd_(sgd),
      reducer_(reducer),
      config_(config),
      full_plan_(Plan::full(network.layout().sites), network.device()) {}

TrainingStep::~TrainingStep() = default;

std::size_t TrainingStep::slot(std::size_t parameter) const { return compact_.leaves.size() - 1 - parameter; }

std::optional<StepResult> TrainingStep::run(const Plan& plan, const at::Tensor& images,
                                            const at::Tensor& labels, double weight, double lr,
                                            bool wants_stop) {
  StepResult result;
  StepTimes& times = result.times;
  Stopwatch watch(network_.device());
  gather(plan);
  begin_reduction(plan, wants_stop);
  times.gather_ms = watch.lap_ms();

  const at::Tensor logits =
      network_.forward(compact_, images, network_.statistics(), {.batch_statistics = true});
  const at::Tensor loss = at::cross_entropy_loss(logits, labels, {}, at::Reduction::Mean,
                                                 /*ignore_index=*/-100, config_.label_smoothing);
  result.loss = loss.item<double>();
  times.forward_ms = watch.lap_ms();

  (weight == 1.0 ? loss : loss * weight).backward();
  times.backward_ms = watch.lap_ms();

  const std::optional<ReduceTimes> reduced = reducer_.wait();
  times.exposed_comm_ms = watch.lap_ms();
  if (!reduced) {
    return std::nullopt;
  }
  times.comm_ms = reduced->comm_ms;
  result.wire_bytes = reduced->wire_bytes;
  result.stop_requested = reduced->stop_requested;

  optimize(lr);
  times.optimizer_ms = watch.lap_ms();
  return result;
}

void TrainingStep::gather(const Plan& plan) {
  network_.gather(plan, config_.precision, compact_);
  for (std::size_t p = 0; p < compact_.leaves.size(); ++p) {
    auto& hook = torch::autograd::impl::post_acc_grad_hooks(compact_.leaves[p]);
    if (hook == nullptr) {
      torch::autograd::impl::set_post_acc_grad_hooks(compact_.leaves[p],
                                                     std::make_unique<GradientHook>(*this, p));
    }
  }
}

void TrainingStep::begin_reduction(const Plan& plan, bool wants_stop) {
  const auto& shapes = network_.layout().parameters;
  std::vector<std::int64_t> numels(shapes.size());
  for (std::size_t p = 0; p < shapes.size(); ++p) {
    numels[slot(p)] =
        config_.reduce == ReduceWhat::slices ? shapes[p].compact_numel(plan) : shapes[p].numel();
  }
  reducer_.begin(numels, plan.digest(), wants_stop);
}

void TrainingStep::take_gradient(std::size_t parameter, const at::Tensor& leaf) {
  // Its only copy from now on is the one in the bucket.
  const at::Tensor gradient = std::exchange(leaf.mutable_grad(), at::Tensor());
  if (config_.reduce == ReduceWhat::dense) {
    reducer_.add(slot(parameter),
                 scatter_slices(network_.layout().parameters[parameter], compact_.plan, gradient));
  } else {
    reducer_.add(slot(parameter), gradient);
  }
}

void TrainingStep::optimize(double lr) {
  std::vector<at::Tensor> gradients(compact_.leaves.size());
  for (std::size_t p = 0; p < gradients.size(); ++p) {
    gradients[p] = reducer_.view(slot(p));
  }
  sgd_.apply(config_.reduce == ReduceWhat::slices ? compact_.plan : full_plan_, gradients, lr);
}

}  // namespace slicereduce
