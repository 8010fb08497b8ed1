#include "launcher/gradient_hook.hpp"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <utility>

namespace slicereduce {

namespace {

class Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit Hook(std::function<void(const at::Tensor&)> take) : take_(std::move(take)) {}
  void operator()(const at::Tensor& leaf) override {
    take_(std::exchange(leaf.mutable_grad(), at::Tensor()));
  }

 private:
  std::function<void(const at::Tensor&)> take_;
};

}  // namespace

void take_gradients_of(const at::Tensor& leaf, std::function<void(const at::Tensor& gradient)> take) {
  auto& hook = torch::autograd::impl::post_acc_grad_hooks(leaf);
  if (hook == nullptr) {
    torch::autograd::impl::set_post_acc_grad_hooks(leaf, std::make_unique<Hook>(std::move(take)));
  }
}

}  // namespace slicereduce
