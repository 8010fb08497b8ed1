#include "sampling/indexed.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <optional>

#include "sampling/column_norms.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce::indexed {

namespace {

/// Undefined where everything is kept.
at::Tensor kept_of(const PlacedPlan& plan, std::optional<std::size_t> site) {
  if (!site) {
    return {};
  }
  const PlacedSet& placed = *plan.set(*site);
  return placed.set.size() == placed.set.channels ? at::Tensor() : placed.kept;
}

at::Tensor select(const at::Tensor& from, std::int64_t dimension, const at::Tensor& kept) {
  return kept.defined() ? from.index_select(dimension, kept) : from;
}

/// The inverse: `from` in the kept places of `count`, zero elsewhere.
at::Tensor spread(const at::Tensor& from, std::int64_t dimension, const at::Tensor& kept,
                  std::int64_t count) {
  if (!kept.defined()) {
    return from;
  }
  std::vector<std::int64_t> sizes = from.sizes().vec();
  sizes[static_cast<std::size_t>(dimension)] = count;
  return at::zeros(sizes, from.options()).index_copy_(dimension, kept, from);
}

/// [rows, taps, columns], a view.
at::Tensor as_matrix(const at::Tensor& value, const ParameterShape& shape) {
  return in_memory_order(value).view({shape.rows(), shape.taps(), shape.columns()});
}

/// [N, H, W, C], contiguous, or [N, C]: channels come last, where indexing moves whole pixels.
at::Tensor with_channels_last(const at::Tensor& x) {
  return (x.dim() == 4 ? x.permute({0, 2, 3, 1}) : x).contiguous();
}

at::Tensor with_channels_second(const at::Tensor& x) { return x.dim() == 4 ? x.permute({0, 3, 1, 2}) : x; }

}  // namespace

void gather_slices(const SlicedParameter& parameter, const PlacedPlan& plan, const at::Tensor& leaf) {
  const c10::NoGradGuard no_grad;
  const auto& shape = parameter.shape;
  const at::Tensor rows = select(as_matrix(parameter.value, shape), 0, kept_of(plan, shape.row_site));
  in_memory_order(leaf).copy_(select(rows, 2, kept_of(plan, shape.column_site)).view({-1}));
}

at::Tensor scatter_slices(const ParameterShape& shape, const PlacedPlan& plan, const at::Tensor& compact) {
  const auto kept = shape.compact_sizes(plan.plan());
  const bool is_vector = kept.size() == 1;
  const at::Tensor slices = in_memory_order(compact)
                                .to(at::kFloat)
                                .view({is_vector ? 1 : kept[0], shape.taps(), is_vector ? kept[0] : kept[1]});
  const at::Tensor rows = spread(slices, 2, kept_of(plan, shape.column_site), shape.columns());
  const at::Tensor dense = spread(rows, 0, kept_of(plan, shape.row_site), shape.rows());
  return with_sizes(dense.view({-1}), shape.sizes);
}

at::Tensor site_norms(std::span<const Site> sites, std::span<const SlicedParameter> parameters) {
  if (sites.empty()) {
    return at::empty({0}, at::kFloat);
  }
  const auto options = parameters.front().value.options().dtype(at::kDouble);
  std::vector<at::Tensor> totals;
  for (const auto& site : sites) {
    totals.push_back(at::zeros({site.channels}, options));
  }
  for (const auto& [shape, value] : parameters) {
    // A vector's columns are its own channels, not inputs that it reads.
    if (shape.column_site && !shape.vector) {
      totals[*shape.column_site].add_(
          as_matrix(value, shape).square().sum(at::IntArrayRef({0, 1}), /*keepdim=*/false, at::kDouble));
    }
  }
  return at::cat(totals).sqrt_().to(at::kFloat);
}

at::Tensor take(const at::Tensor& x, const PlacedSet& set) {
  const at::Tensor pixels = with_channels_last(x);
  at::Tensor taken = pixels.index_select(-1, set.kept);
  if (set.scale.defined()) {
    taken = taken.mul(set.scale).to(x.scalar_type());
  }
  return with_channels_second(taken);
}

at::Tensor give_back(const at::Tensor& taken, const at::Tensor& passed, const PlacedSet& set) {
  at::Tensor pixels = with_channels_last(taken);
  if (set.scale.defined()) {
    pixels = pixels.mul(set.scale);
  }
  const at::Tensor given = spread(pixels, pixels.dim() - 1, set.kept, set.set.channels);
  const at::Tensor sum = passed.defined() ? with_channels_last(passed) + given : given;
  return with_channels_second(sum.to(taken.scalar_type()));
}

at::Tensor take_owed(const at::Tensor& owed, const ParameterShape& shape, const PlacedPlan& plan,
                     const at::Tensor& gradient) {
  const bool is_dense = gradient.defined() && gradient.numel() == shape.numel();
  if (is_dense) {
    owed.add_(gradient);
  }
  const auto sizes = shape.compact_sizes(plan.plan());
  const at::Tensor taken = at::empty(sizes, owed.options().memory_format(memory_format_of(sizes)));
  indexed::gather_slices({.shape = shape, .value = owed}, plan, taken);
  // Not by subtraction: what is not finite would stay.
  owed.masked_fill_(indexed::scatter_slices(shape, plan, at::ones_like(taken)).ne(0), 0);
  if (gradient.defined() && !is_dense) {
    taken.add_(gradient);
  }
  return taken;
}

void owe(const at::Tensor& owed, const ParameterShape& shape, const PlacedPlan& plan,
         const at::Tensor& unsent) {
  owed.add_(indexed::scatter_slices(shape, plan, unsent));
}

void update(std::span<const SlicedParameter> parameters, std::span<const at::Tensor> momentum,
            const PlacedPlan& plan, std::span<const Gradient> gradients, const SgdRule& rule) {
  const c10::NoGradGuard no_grad;
  struct Group {
    std::vector<at::Tensor> weights;
    std::vector<at::Tensor> gradients;
    std::vector<at::Tensor> momentum;
  };
  Group decaying;
  Group constant;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const auto& [shape, value] = parameters[p];
    Group& group = rule.decay_vectors || !shape.vector ? decaying : constant;
    group.weights.push_back(value);
    group.gradients.push_back(indexed::scatter_slices(shape, plan, gradients[p].dense().to(value.device())));
    group.momentum.push_back(momentum[p]);
  }
  const auto step = [&](const Group& group, double weight_decay) {
    if (!group.weights.empty()) {
      at::_fused_sgd_(group.weights, group.gradients, group.momentum, weight_decay, rule.momentum, rule.lr,
                      /*dampening=*/0, rule.nesterov, /*maximize=*/false, /*is_first_step=*/false);
    }
  };
  step(decaying, rule.weight_decay);
  step(constant, 0);
}

namespace {

class IndexedPasses final : public WeightPasses {
 public:
  explicit IndexedPasses(std::span<const at::Tensor> momentum)
      : momentum_(momentum.begin(), momentum.end()) {}

  void update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
              std::span<const Gradient> gradients, const SgdRule& rule) override {
    indexed::update(cut, std::span(momentum_).subspan(first, cut.size()), plan, gradients, rule);
  }
  void refresh() override {}  // norms() looks at the weights
  [[nodiscard]] at::Tensor norms(std::span<const Site> sites,
                                 std::span<const SlicedParameter> cut) const override {
    return indexed::site_norms(sites, cut);
  }

 private:
  std::vector<at::Tensor> momentum_;
};

}  // namespace

std::unique_ptr<WeightPasses> make_weight_passes(std::span<const at::Tensor> momentum) {
  return std::make_unique<IndexedPasses>(momentum);
}

}  // namespace slicereduce::indexed
