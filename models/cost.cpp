#include "models/cost.hpp"

namespace slicereduce {

namespace {

std::int64_t after(std::int64_t side, const ConvNorm& conv) {
  return (side + 2 * (conv.kernel / 2) - conv.kernel) / conv.stride + 1;
}

/// What a step leaves of each parameter.
struct Kept {
  std::span<const ParameterShape> shapes;
  const Plan& plan;

  [[nodiscard]] std::int64_t numel(std::size_t parameter) const {
    return shapes[parameter].compact_numel(plan);
  }
};

class Accountant {
 public:
  Accountant(const Layout& layout, Kept computed, Kept reduced, const WireNumel& wire_numel)
      : layout_(layout), computed_(computed), reduced_(reduced), wire_numel_(wire_numel) {}

  /// Returns the side of the layer's output.
  std::int64_t add(const Layer& layer, std::int64_t side) {
    const std::int64_t out_side = after(side, layer.shape);
    const auto& weight = layout_.parameters[layer.weight];
    LayerCost cost = of_parameters(layer.shape.conv, {layer.weight, layer.norm_weight, layer.norm_bias});
    cost.flops = 2 * computed_.numel(layer.weight) * out_side * out_side;
    cost.dense_flops = 2 * weight.numel() * out_side * out_side;
    costs_.push_back(cost);
    return out_side;
  }

  void add_classifier() {
    LayerCost cost = of_parameters("fc", {layout_.classifier_weight, layout_.classifier_bias});
    cost.flops = 2 * computed_.numel(layout_.classifier_weight);
    cost.dense_flops = 2 * layout_.parameters[layout_.classifier_weight].numel();
    costs_.push_back(cost);
  }

  std::vector<LayerCost> done() { return std::move(costs_); }

 private:
  LayerCost of_parameters(const std::string& name, std::initializer_list<std::size_t> indices) const {
    LayerCost cost{.name = name};
    for (const std::size_t index : indices) {
      const std::vector<std::int64_t> sizes = reduced_.shapes[index].compact_sizes(reduced_.plan);
      const std::int64_t rows = sizes.size() == 1 ? 1 : sizes[0];
      cost.numel += wire_numel_(rows, reduced_.numel(index) / rows);
      cost.kept_numel += reduced_.numel(index);
      cost.dense_numel += layout_.parameters[index].numel();
    }
    return cost;
  }

  const Layout& layout_;
  Kept computed_;
  Kept reduced_;
  const WireNumel& wire_numel_;
  std::vector<LayerCost> costs_;
};

std::vector<LayerCost> account(Accountant accountant, const Layout& layout, std::int64_t image_size) {
  std::int64_t side = accountant.add(layout.stem, image_size);
  if (layout.architecture.stem_pools) {
    side = (side - 1) / 2 + 1;
  }
  for (const auto& block : layout.blocks) {
    std::int64_t inside = side;
    for (const auto& layer : block.chain) {
      inside = accountant.add(layer, inside);
    }
    if (block.projection) {
      accountant.add(*block.projection, side);
    }
    side = inside;
  }
  accountant.add_classifier();
  return accountant.done();
}

}  // namespace

std::vector<LayerCost> layer_costs(const Layout& layout, const Plan& plan, std::int64_t image_size,
                                   const WireNumel& wire_numel) {
  const Kept kept{.shapes = layout.parameters, .plan = plan};
  return account({layout, kept, kept, wire_numel}, layout, image_size);
}

std::vector<LayerCost> layer_costs(const Layout& layout, const SliceLayout& slices, const Plan& plan,
                                   std::int64_t image_size, const WireNumel& wire_numel) {
  const Plan everything = Plan::full(layout.sites);
  return account({layout,
                  {.shapes = layout.parameters, .plan = everything},
                  {.shapes = slices.parameters, .plan = plan},
                  wire_numel},
                 layout, image_size);
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
