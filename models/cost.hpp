#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/layout.hpp"
#include "models/slice_layout.hpp"
#include "sampling/approximate_product.hpp"
#include "sampling/plan.hpp"

namespace slicereduce {

/// What a layer of a network costs with the batch norm behind it, or a batch norm that is behind none.
struct LayerCost {
  std::string name;
  std::int64_t numel = 0;        ///< numbers that a step reduces
  std::int64_t kept_numel = 0;   ///< gradient values that a step has: more, where their factors are reduced
  std::int64_t dense_numel = 0;  ///< learnable values
  std::int64_t flops = 0;        ///< of one image's forward pass: 2 a multiply-add of its linear map
  std::int64_t dense_flops = 0;
};

/// How many numbers travel for a gradient matrix of so many rows and columns.
using WireNumel = std::function<std::int64_t(std::int64_t rows, std::int64_t columns)>;

/// What a training step takes, in the arithmetic of forward passes.
inline constexpr double kForwardPassesOfAStep = 3;

/// One a layer, in order of use. `image_size` is the side of the square input. With `products`, flops are a
/// third of a step's.
[[nodiscard]] std::vector<LayerCost> layer_costs(const Layout& layout, const Plan& plan,
                                                 std::int64_t image_size,
                                                 const WireNumel& wire_numel = std::multiplies<>(),
                                                 const ProductApproximation* products = nullptr);
/// The same where the network is whole and its gradients are cut: `plan` is of `slices`.
[[nodiscard]] std::vector<LayerCost> layer_costs(const Layout& layout, const SliceLayout& slices,
                                                 const Plan& plan, std::int64_t image_size,
                                                 const WireNumel& wire_numel = std::multiplies<>());
[[nodiscard]] LayerCost total_cost(const std::vector<LayerCost>& layers);

/// A plan with the sizes that a sampler of fixed size would keep (the first channels of each site).
[[nodiscard]] Plan plan_of_size(const Layout& layout, const SampleSize& size);

}  // namespace slicereduce
