#include "sampling/sliced_parameter.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include <cstring>
#include <numeric>

#include "core/error.hpp"
#include "sampling/column_norms.hpp"

namespace slicereduce {

namespace {

std::vector<std::int32_t> kept_or_all(const Plan& plan, std::optional<std::size_t> site, std::int64_t count) {
  return site ? plan.sets[*site].kept : ChannelSet::all(count).kept;
}

std::int64_t kept_count(const Plan& plan, std::optional<std::size_t> site, std::int64_t count) {
  return site ? plan.sets[*site].size() : count;
}

/// Visits the runs of `kept columns` that the compact tensor consists of: (offset of the run's dense
/// row, offset of the compact run).
template <typename Visit>
void for_each_run(const ParameterShape& shape, std::span<const std::int32_t> rows, std::int64_t kept_columns,
                  const Visit& visit) {
  const std::int64_t taps = shape.taps();
  const std::int64_t grain = std::max<std::int64_t>(1, at::internal::GRAIN_SIZE / (taps * kept_columns + 1));
  at::parallel_for(0, static_cast<std::int64_t>(rows.size()), grain,
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t r = begin; r < end; ++r) {
                       for (std::int64_t tap = 0; tap < taps; ++tap) {
                         visit((rows[r] * taps + tap) * shape.columns(), (r * taps + tap) * kept_columns);
                       }
                     }
                   });
}

template <typename To>
void gather_into(const SlicedParameter& parameter, const Plan& plan, To* compact) {
  const auto& shape = parameter.shape;
  const float* dense = parameter.value.const_data_ptr<float>();
  const auto rows = kept_or_all(plan, shape.row_site, shape.rows());
  const auto columns = kept_or_all(plan, shape.column_site, shape.columns());
  for_each_run(shape, rows, static_cast<std::int64_t>(columns.size()),
               [&](std::int64_t from, std::int64_t to) {
                 for (std::size_t c = 0; c < columns.size(); ++c) {
                   compact[to + static_cast<std::int64_t>(c)] = static_cast<To>(dense[from + columns[c]]);
                 }
               });
}

template <typename From>
void scatter_from(const ParameterShape& shape, const Plan& plan, const From* compact, float* dense) {
  const auto rows = kept_or_all(plan, shape.row_site, shape.rows());
  const auto columns = kept_or_all(plan, shape.column_site, shape.columns());
  for_each_run(shape, rows, static_cast<std::int64_t>(columns.size()),
               [&](std::int64_t to, std::int64_t from) {
                 for (std::size_t c = 0; c < columns.size(); ++c) {
                   dense[to + columns[c]] = static_cast<float>(compact[from + static_cast<std::int64_t>(c)]);
                 }
               });
}

}  // namespace

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

at::Tensor SlicedParameter::allocate(const std::vector<std::int64_t>& sizes, at::ScalarType dtype) {
  const auto format = sizes.size() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return at::empty(sizes, at::TensorOptions().dtype(dtype), format);
}

void gather_slices(const SlicedParameter& parameter, const Plan& plan, const at::Tensor& leaf) {
  require(leaf.sizes() == at::IntArrayRef(parameter.shape.compact_sizes(plan)),
          "a leaf has another shape than its plan");
  if (leaf.scalar_type() == at::kBFloat16) {
    gather_into(parameter, plan, leaf.mutable_data_ptr<at::BFloat16>());
  } else {
    gather_into(parameter, plan, leaf.mutable_data_ptr<float>());
  }
}

at::Tensor scatter_slices(const ParameterShape& shape, const Plan& plan, const at::Tensor& compact) {
  require(compact.numel() == shape.compact_numel(plan), "a compact gradient has another size than its plan");
  const at::Tensor dense = SlicedParameter::allocate(shape.sizes, at::kFloat);
  std::memset(dense.mutable_data_ptr(), 0, static_cast<std::size_t>(dense.nbytes()));
  switch (compact.scalar_type()) {
    case at::kFloat:
      scatter_from(shape, plan, compact.const_data_ptr<float>(), dense.mutable_data_ptr<float>());
      break;
    case at::kBFloat16:
      scatter_from(shape, plan, compact.const_data_ptr<at::BFloat16>(), dense.mutable_data_ptr<float>());
      break;
    case at::kHalf:
      scatter_from(shape, plan, compact.const_data_ptr<at::Half>(), dense.mutable_data_ptr<float>());
      break;
    default:
      require(false, "gradients are float, bfloat16 or half");
  }
  return dense;
}

std::vector<std::vector<float>> site_norms(std::span<const Site> sites,
                                           std::span<const SlicedParameter> parameters) {
  std::vector<const ParameterShape*> shapes;
  std::vector<ColumnSquares> squares;
  for (const auto& parameter : parameters) {
    shapes.push_back(&parameter.shape);
    auto& sums = squares.emplace_back(parameter.shape);
    const float* weights = parameter.value.const_data_ptr<float>();
    const std::int64_t columns = parameter.shape.columns();
    for (std::int64_t block = 0; block < sums.blocks(); ++block) {
      const std::span<float> sum = sums.start(block);
      const std::int64_t end = sums.end_row(block) * parameter.shape.taps();
      for (std::int64_t run = sums.first_row(block) * parameter.shape.taps(); run < end; ++run) {
        for (std::int64_t c = 0; c < columns; ++c) {
          sum[c] += weights[run * columns + c] * weights[run * columns + c];
        }
      }
    }
  }
  return site_norms(sites, shapes, squares);
}

}  // namespace slicereduce
