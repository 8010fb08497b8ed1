#include "sampling/sliced_sgd.hpp"

#include <ATen/ops/zeros_like.h>

#include "core/error.hpp"
#include "core/text.hpp"
#include "sampling/column_norms.hpp"
#include "sampling/device_slices.hpp"
#include "sampling/indexed.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce {

namespace {

std::unique_ptr<WeightPasses> make_passes(std::span<const SlicedParameter> parameters,
                                          std::span<const at::Tensor> momentum) {
  if (parameters.empty() || parameters.front().value.is_cpu()) {
    return make_host_passes(parameters, momentum);
  }
  return kernels::serve(parameters.front().value.device()) ? kernels::make_weight_passes(parameters, momentum)
                                                           : indexed::make_weight_passes(momentum);
}

}  // namespace

void SgdConfig::validate() const {
  if (!(momentum >= 0 && momentum < 1)) {
    throw Error(ErrorKind::usage,
                concat("momentum = ", momentum, ": expected 0 <= momentum < 1 (--momentum)"));
  }
  if (!(weight_decay >= 0)) {
    throw Error(ErrorKind::usage,
                concat("weight_decay = ", weight_decay, ": expected at least 0 (--weight-decay)"));
  }
  if (nesterov && momentum == 0) {
    throw Error(ErrorKind::usage, "--nesterov needs a momentum above 0 (--momentum)");
  }
}

SlicedSgd::SlicedSgd(std::span<SlicedParameter> parameters, std::span<const Site> sites, SgdConfig config)
    : parameters_(parameters), sites_(sites), config_(config) {
  for (const auto& parameter : parameters_) {
    (void)in_memory_order(parameter.value);  // it throws where that can't be
    momentum_.push_back(at::zeros_like(parameter.value));
  }
  passes_ = make_passes(parameters_, momentum_);
  norms_in_place_ = passes_->norms(sites_, parameters_);
}

void SlicedSgd::refresh_norms() {
  passes_->refresh();
  end_step();
}

void SlicedSgd::apply(const PlacedPlan& plan, std::span<const Gradient> gradients, double lr) {
  require(gradients.size() == parameters_.size(), "SGD needs a gradient for every parameter");
  update(0, parameters_, plan, gradients, lr);
  end_step();
}

void SlicedSgd::update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
                       std::span<const Gradient> gradients, double lr) {
  require_fitting(first, cut, plan, gradients);
  passes_->update(first, cut, plan, gradients, {config_, lr});
}

void SlicedSgd::update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
                       std::span<const Gradient> gradients, const LiveRate& rate) {
  require_fitting(first, cut, plan, gradients);
  if (kernels::serve(plan.device())) {
    passes_->update(first, cut, plan, gradients, {config_, 0, &rate});
  } else if (rate.goes.item<std::int32_t>() != 0) {
    passes_->update(first, cut, plan, gradients, {config_, static_cast<double>(rate.lr.item<float>())});
  }
}

void SlicedSgd::require_fitting(std::size_t first, std::span<const SlicedParameter> cut,
                                const PlacedPlan& plan, std::span<const Gradient> gradients) const {
  require(gradients.size() == cut.size() && first + cut.size() <= parameters_.size(),
          "SGD needs a gradient for every parameter that it updates");
  for (std::size_t i = 0; i < cut.size(); ++i) {
    require(gradients[i].numel() == cut[i].shape.compact_numel(plan.plan()),
            "a gradient has another size than its plan");
    if (!gradients[i].has_factors()) {
      (void)in_memory_order(gradients[i].values);
    }
  }
}

void SlicedSgd::end_step() {
  norms_in_place_.copy_(passes_->norms(sites_, parameters_));
  norms_.clear();
}

const std::vector<std::vector<float>>& SlicedSgd::norms() const {
  if (norms_.empty()) {
    norms_ = split_by_site(norms_in_place_, sites_);
  }
  return norms_;
}

std::vector<std::vector<float>> SlicedSgd::norms(std::span<const Site> sites,
                                                 std::span<const SlicedParameter> cut) const {
  return split_by_site(passes_->norms(sites, cut), sites);
}

}  // namespace slicereduce
