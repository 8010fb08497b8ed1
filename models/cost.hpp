#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/layout.hpp"
#include "models/slice_layout.hpp"
#include "sampling/plan.hpp"

namespace slicereduce {

/// What a part of a network costs: a convolution with its batch norm, or the classifier.
struct LayerCost {
  std::string name;
  std::int64_t numel = 0;        ///< numbers that a step reduces
  std::int64_t kept_numel = 0;   ///< gradient values that a step has: more, where their factors are reduced
  std::int64_t dense_numel = 0;  ///< learnable values
  std::int64_t flops = 0;  ///< of one image's forward pass: 2 a multiply-add of convolutions and classifier
  std::int64_t dense_flops = 0;
};

/// How many numbers travel for a gradient matrix of so many rows and columns.
using WireNumel = std::function<std::int64_t(std::int64_t rows, std::int64_t columns)>;

/// One a layer, in order of use. `image_size` is the side of the square input. A training step takes
/// close to three times the forward pass.
[[nodiscard]] std::vector<LayerCost> layer_costs(const Layout& layout, const Plan& plan,
                                                 std::int64_t image_size,
                                                 const WireNumel& wire_numel = std::multiplies<>());
/// The same where the network is whole and its gradients are cut: `plan` is of `slices`.
[[nodiscard]] std::vector<LayerCost> layer_costs(const Layout& layout, const SliceLayout& slices,
                                                 const Plan& plan, std::int64_t image_size,
                                                 const WireNumel& wire_numel = std::multiplies<>());
[[nodiscard]] LayerCost total_cost(const std::vector<LayerCost>& layers);

/// A plan with the sizes that a sampler of fixed size would keep (the first channels of each site).
[[nodiscard]] Plan plan_of_size(const Layout& layout, const SampleSize& size);

}  // namespace slicereduce
