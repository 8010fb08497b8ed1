#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <string>
#include <vector>

#include "sampling/memory_order.hpp"
#include "sampling/plan.hpp"
#include "sampling/sliced_parameter.hpp"

namespace slicereduce::testing {

/// Two sites, and a parameter of each kind that reads or is cut by them: a coupled convolution, its batch
/// norm, a convolution that keeps all rows, a linear weight and its bias.
struct RandomParameters {
  explicit RandomParameters(std::uint64_t seed) : generator(at::detail::createCPUGenerator(seed)) {
    add({.name = "conv1.weight", .sizes = {24, 20, 3, 3}, .row_site = 1, .column_site = 0});
    add({.name = "bn1.weight", .sizes = {24}, .row_site = {}, .column_site = 1, .vector = true});
    add({.name = "conv2.weight", .sizes = {10, 24, 1, 1}, .row_site = {}, .column_site = 1});
    add({.name = "stem.weight", .sizes = {7, 3, 5, 5}, .row_site = {}, .column_site = {}});
    add({.name = "fc.weight", .sizes = {11, 20}, .row_site = {}, .column_site = 0});
    add({.name = "fc.bias", .sizes = {11}, .row_site = {}, .column_site = {}, .vector = true});
  }

  void add(ParameterShape shape) {
    const at::Tensor value = normal(shape.sizes);
    parameters.push_back({.shape = std::move(shape), .value = value});
  }

  /// In memory order.
  at::Tensor normal(at::IntArrayRef sizes) {
    return at::randn(sizes, generator).contiguous(memory_format_of(sizes));
  }

  Plan random_plan(std::uint64_t step) {
    const auto sampler = make_sampler("uniform");
    const std::vector<std::vector<float>> norms{std::vector<float>(20, 1.0F), std::vector<float>(24, 1.0F)};
    return draw_plan(sites, norms, *sampler, {.ratio = 0.4, .minimal_k = 1, .channel_multiple = 1}, 9, step);
  }

  at::Generator generator;
  std::vector<Site> sites{{.name = "a", .channels = 20}, {.name = "b", .channels = 24}};
  std::vector<SlicedParameter> parameters;
};

/// The compact tensor by index_select: slow and plain. In memory order.
inline at::Tensor reference_slices(const at::Tensor& dense, const ParameterShape& shape, const Plan& plan) {
  at::Tensor slices = dense;
  const auto take = [&](std::int64_t dim, std::size_t site) {
    const std::vector<std::int64_t> kept(plan.sets[site].kept.begin(), plan.sets[site].kept.end());
    slices = slices.index_select(dim, at::tensor(kept));
  };
  if (shape.row_site) {
    take(0, *shape.row_site);
  }
  if (shape.column_site) {
    take(shape.vector ? 0 : 1, *shape.column_site);
  }
  return slices.contiguous(memory_format_of(slices.sizes()));
}

}  // namespace slicereduce::testing
