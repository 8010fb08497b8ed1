#include "models/cost.hpp"

#include <cmath>
#include <utility>
#include <variant>

#include "core/overloaded.hpp"

namespace slicereduce {

namespace {

std::int64_t after(std::int64_t side, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
  return (side + 2 * padding - kernel) / stride + 1;
}

/// What a step leaves of each parameter.
struct Kept {
  std::span<const ParameterShape> shapes;
  const Plan& plan;

  [[nodiscard]] std::int64_t numel(std::size_t parameter) const {
    return shapes[parameter].compact_numel(plan);
  }
};

/// Goes through a network's steps with the side of its maps.
class Accountant {
 public:
  Accountant(const Layout& layout, Kept computed, Kept reduced, const WireNumel& wire_numel,
             const ProductApproximation* products = nullptr)
      : layout_(layout),
        computed_(computed),
        reduced_(reduced),
        wire_numel_(wire_numel),
        products_(products) {}

  std::vector<LayerCost> account(std::int64_t side) {
    (void)add(layout_.steps, side);
    return std::move(costs_);
  }

 private:
  /// Returns the side of the output.
  std::int64_t add(const Steps& steps, std::int64_t side) {
    follows_layer_ = false;
    for (const Step& step : steps) {
      std::visit(Overloaded{
                     [&](const Layer& layer) { side = add(layer, side); },
                     [&](const NormStep& norm) { add(norm); },
                     [&](const MaxPool& pool) { side = after(side, pool.kernel, pool.stride, pool.padding); },
                     [&](const MeanPool&) { side = 1; },
                     [&](const Flatten&) { side = 1; },
                     [&](const ResidualStep& residual) {
                       const std::int64_t inside = add(residual.branch, side);
                       (void)add(residual.projection, side);
                       side = inside;
                       follows_layer_ = false;
                     },
                     [](const auto&) {},
                 },
                 step.kind);
    }
    return side;
  }

  std::int64_t add(const Layer& layer, std::int64_t side) {
    const std::int64_t out_side =
        layer.is_linear ? 1 : after(side, layer.kernel, layer.stride, layer.kernel / 2);
    LayerCost cost{.name = layer.name};
    add_parameter(cost, layer.weight);
    if (layer.bias) {
      add_parameter(cost, *layer.bias);
    }
    cost.flops = 2 * computed_.numel(layer.weight) * out_side * out_side;
    cost.dense_flops = 2 * layout_.parameters[layer.weight].numel() * out_side * out_side;
    if (products_ != nullptr && layer.input_site) {
      const ParameterShape& shape = layout_.parameters[layer.weight];
      cost.flops = std::llround(static_cast<double>(cost.flops) *
                                products_->share_of_flops(shape.columns(), shape.rows()));
    }
    costs_.push_back(cost);
    follows_layer_ = true;
    return out_side;
  }

  /// Part of the layer that it follows, or something by itself.
  void add(const NormStep& norm) {
    if (!follows_layer_) {
      costs_.push_back({.name = layout_.statistics[norm.statistics].name});
    }
    add_parameter(costs_.back(), norm.weight);
    add_parameter(costs_.back(), norm.bias);
    follows_layer_ = false;
  }

  void add_parameter(LayerCost& cost, std::size_t index) const {
    const std::vector<std::int64_t> sizes = reduced_.shapes[index].compact_sizes(reduced_.plan);
    const std::int64_t rows = sizes.size() == 1 ? 1 : sizes[0];
    cost.numel += wire_numel_(rows, reduced_.numel(index) / rows);
    cost.kept_numel += reduced_.numel(index);
    cost.dense_numel += layout_.parameters[index].numel();
  }

  const Layout& layout_;
  Kept computed_;
  Kept reduced_;
  const WireNumel& wire_numel_;
  const ProductApproximation* products_;
  std::vector<LayerCost> costs_;
  bool follows_layer_ = false;
};

}  // namespace

std::vector<LayerCost> layer_costs(const Layout& layout, const Plan& plan, std::int64_t image_size,
                                   const WireNumel& wire_numel, const ProductApproximation* products) {
  const Kept kept{.shapes = layout.parameters, .plan = plan};
  return Accountant(layout, kept, kept, wire_numel, products).account(image_size);
}

std::vector<LayerCost> layer_costs(const Layout& layout, const SliceLayout& slices, const Plan& plan,
                                   std::int64_t image_size, const WireNumel& wire_numel) {
  const Plan everything = Plan::full(layout.sites);
  return Accountant(layout, {.shapes = layout.parameters, .plan = everything},
                    {.shapes = slices.parameters, .plan = plan}, wire_numel)
      .account(image_size);
}

LayerCost total_cost(const std::vector<LayerCost>& layers) {
  LayerCost total{.name = "total"};
  for (const auto& layer : layers) {
    total.numel += layer.numel;
    total.kept_numel += layer.kept_numel;
    total.dense_numel += layer.dense_numel;
    total.flops += layer.flops;
    total.dense_flops += layer.dense_flops;
  }
  return total;
}

Plan plan_of_size(const Layout& layout, const SampleSize& size) {
  Plan plan = Plan::full(layout.sites);
  for (auto& set : plan.sets) {
    set.kept.resize(size.kept(set.channels));
  }
  return plan;
}

}  // namespace slicereduce
