#include "sampling/sliced_parameter.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <numeric>

#include "core/error.hpp"
#include "sampling/device_slices.hpp"
#include "sampling/indexed.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce {

namespace {

std::vector<std::int32_t> kept_or_all(const Plan& plan, std::optional<std::size_t> site, std::int64_t count) {
  return site ? plan.sets[*site].kept : ChannelSet::all(count).kept;
}

std::int64_t kept_count(const Plan& plan, std::optional<std::size_t> site, std::int64_t count) {
  return site ? plan.sets[*site].size() : count;
}

std::vector<std::int32_t> kept_places(const ParameterShape& shape, const Plan& plan) {
  const auto columns = kept_or_all(plan, shape.column_site, shape.columns());
  std::vector<std::int32_t> places;
  places.reserve(columns.size() * static_cast<std::size_t>(shape.taps()));
  for (std::int64_t tap = 0; tap < shape.taps(); ++tap) {
    for (const std::int32_t column : columns) {
      places.push_back(static_cast<std::int32_t>(tap * shape.columns()) + column);
    }
  }
  return places;
}

/// Visits each kept row: (its place in the dense tensor, its place in the compact one), both in values.
template <typename Visit>
void for_each_row(const ParameterShape& shape, std::span<const std::int32_t> rows, std::size_t kept_of_row,
                  const Visit& visit) {
  const std::int64_t dense_row = shape.columns() * shape.taps();
  const auto compact_row = static_cast<std::int64_t>(kept_of_row);
  const std::int64_t grain = std::max<std::int64_t>(1, at::internal::GRAIN_SIZE / (compact_row + 1));
  at::parallel_for(0, static_cast<std::int64_t>(rows.size()), grain,
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t r = begin; r < end; ++r) {
                       visit(rows[r] * dense_row, r * compact_row);
                     }
                   });
}

template <typename To>
void gather_into(const SlicedParameter& parameter, const Plan& plan, To* compact) {
  const auto& shape = parameter.shape;
  const auto* dense = parameter.value.const_data_ptr<float>();
  const auto rows = kept_or_all(plan, shape.row_site, shape.rows());
  const auto places = kept_places(shape, plan);
  for_each_row(shape, rows, places.size(),
               [&](std::int64_t from, std::int64_t to) { gather_row(dense + from, places, compact + to); });
}

template <typename From>
void scatter_from(const ParameterShape& shape, const Plan& plan, const From* compact, float* dense) {
  const auto rows = kept_or_all(plan, shape.row_site, shape.rows());
  const auto places = kept_places(shape, plan);
  for_each_row(shape, rows, places.size(),
               [&](std::int64_t to, std::int64_t from) { scatter_row(compact + from, places, dense + to); });
}

}  // namespace

void clear_left_out_columns(const ParameterShape& shape, const Plan& plan, const at::Tensor& dense) {
  if (shape.vector || !shape.column_site) {
    return;
  }
  const std::vector<std::int32_t>& kept = plan.sets[*shape.column_site].kept;
  const std::vector<std::int32_t> all = ChannelSet::all(shape.columns()).kept;
  std::vector<std::int64_t> left_out;
  std::ranges::set_difference(all, kept, std::back_inserter(left_out));
  const at::NoGradGuard no_gradient;
  at::Tensor columns = dense;
  columns.index_fill_(1, at::tensor(left_out, at::kLong).to(dense.device()), 0);
}

std::vector<std::int64_t> ParameterShape::compact_sizes(const Plan& plan) const {
  std::vector<std::int64_t> compact = sizes;
  if (sizes.size() == 1) {
    compact[0] = kept_count(plan, column_site, columns());
  } else {
    compact[0] = kept_count(plan, row_site, rows());
    compact[1] = kept_count(plan, column_site, columns());
  }
  return compact;
}

std::int64_t ParameterShape::compact_numel(const Plan& plan) const {
  const auto compact = compact_sizes(plan);
  return std::accumulate(compact.begin(), compact.end(), std::int64_t{1}, std::multiplies<>());
}

bool ParameterShape::whole(const Plan& plan) const { return compact_numel(plan) == numel(); }

Placement place(const ParameterShape& shape, const Plan& plan) {
  Placement placement{.compact_row = std::vector<std::int64_t>(shape.rows(), -1),
                      .places = kept_places(shape, plan)};
  const auto rows = kept_or_all(plan, shape.row_site, shape.rows());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    placement.compact_row[rows[r]] = static_cast<std::int64_t>(r);
  }
  return placement;
}

void gather_slices(const SlicedParameter& parameter, const PlacedPlan& placed, const at::Tensor& leaf) {
  const Plan& plan = placed.plan();
  require(leaf.sizes() == at::IntArrayRef(parameter.shape.compact_sizes(plan)),
          "a leaf has another shape than its plan");
  const at::Tensor numbers = in_memory_order(leaf.detach());
  if (parameter.shape.whole(plan)) {
    numbers.copy_(in_memory_order(parameter.value));
  } else if (!leaf.is_cpu()) {
    indexed::gather_slices(parameter, placed, leaf);
  } else if (leaf.scalar_type() == at::kBFloat16) {
    gather_into(parameter, plan, numbers.mutable_data_ptr<at::BFloat16>());
  } else {
    gather_into(parameter, plan, numbers.mutable_data_ptr<float>());
  }
}

void gather_slices(std::span<const SlicedParameter> parameters, const PlacedPlan& placed,
                   std::span<const at::Tensor> leaves) {
  require(leaves.size() == parameters.size(), "every parameter has a leaf");
  if (kernels::serve(placed.device())) {
    return kernels::gather_slices(parameters, placed, leaves);
  }
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    if (!leaves[p].is_alias_of(parameters[p].value)) {
      gather_slices(parameters[p], placed, leaves[p]);
    }
  }
}

at::Tensor scatter_slices(const ParameterShape& shape, const PlacedPlan& placed, const at::Tensor& compact) {
  const Plan& plan = placed.plan();
  require(compact.numel() == shape.compact_numel(plan), "a compact gradient has another size than its plan");
  if (!compact.is_cpu()) {
    return indexed::scatter_slices(shape, placed, compact);
  }
  const at::Tensor numbers = in_memory_order(compact);
  const at::Tensor dense = at::zeros({shape.numel()}, at::kFloat);
  switch (compact.scalar_type()) {
    case at::kFloat:
      scatter_from(shape, plan, numbers.const_data_ptr<float>(), dense.mutable_data_ptr<float>());
      break;
    case at::kBFloat16:
      scatter_from(shape, plan, numbers.const_data_ptr<at::BFloat16>(), dense.mutable_data_ptr<float>());
      break;
    case at::kHalf:
      scatter_from(shape, plan, numbers.const_data_ptr<at::Half>(), dense.mutable_data_ptr<float>());
      break;
    default:
      require(false, "gradients are float, bfloat16 or half");
  }
  return with_sizes(dense, shape.sizes);
}

}  // namespace slicereduce
