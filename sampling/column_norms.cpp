#include "sampling/column_norms.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "sampling/indexed.hpp"

namespace slicereduce {

namespace {

/// Enough work for a thread to be worth waking, and small enough for its sums to stay in the cache.
constexpr std::int64_t kBlockNumel = 65'536;

}  // namespace

ColumnSquares::ColumnSquares(const ParameterShape& shape)
    : rows_(shape.rows()),
      columns_(shape.columns()),
      taps_(shape.taps()),
      rows_per_block_(std::max<std::int64_t>(1, kBlockNumel / (columns_ * taps_))),
      blocks_((rows_ + rows_per_block_ - 1) / rows_per_block_),
      sums_(static_cast<std::size_t>(blocks_ * columns_)) {}

std::int64_t ColumnSquares::end_row(std::int64_t block) const {
  return std::min(rows_, (block + 1) * rows_per_block_);
}

void ColumnSquares::finish(std::int64_t block, std::span<const float> of_row) {
  const auto sums = std::span(sums_).subspan(static_cast<std::size_t>(block * columns_),
                                             static_cast<std::size_t>(columns_));
  std::ranges::fill(sums, 0.0F);
  for (std::int64_t t = 0; t < taps_; ++t) {
    for (std::int64_t c = 0; c < columns_; ++c) {
      sums[c] += of_row[t * columns_ + c];
    }
  }
}

void ColumnSquares::add_to(std::span<double> totals) const {
  for (std::int64_t block = 0; block < blocks_; ++block) {
    for (std::int64_t c = 0; c < columns_; ++c) {
      totals[c] += sums_[block * columns_ + c];
    }
  }
}

ColumnSquares column_squares(const SlicedParameter& parameter) {
  ColumnSquares squares(parameter.shape);
  const auto* weights = parameter.value.const_data_ptr<float>();
  const std::int64_t width = squares.row_numel();
  for (std::int64_t block = 0; block < squares.blocks(); ++block) {
    std::vector<float> of_row(width, 0.0F);
    for (std::int64_t row = squares.first_row(block); row < squares.end_row(block); ++row) {
      for (std::int64_t i = 0; i < width; ++i) {
        of_row[i] += weights[row * width + i] * weights[row * width + i];
      }
    }
    squares.finish(block, of_row);
  }
  return squares;
}

std::vector<std::vector<float>> site_norms(std::span<const Site> sites,
                                           std::span<const SlicedParameter> parameters) {
  if (!parameters.empty() && !parameters.front().value.is_cpu()) {
    return split_by_site(indexed::site_norms(sites, parameters), sites);
  }
  std::vector<ColumnSquares> squares;
  for (const auto& parameter : parameters) {
    squares.push_back(column_squares(parameter));
  }
  return site_norms(sites, parameters, squares);
}

std::vector<std::vector<float>> site_norms(std::span<const Site> sites,
                                           std::span<const SlicedParameter> parameters,
                                           std::span<const ColumnSquares> squares) {
  std::vector<std::vector<double>> totals;
  for (const auto& site : sites) {
    totals.emplace_back(site.channels, 0.0);
  }
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const auto& shape = parameters[p].shape;
    // A vector's columns are its own channels, not inputs that it reads.
    if (shape.column_site && !shape.vector) {
      squares[p].add_to(totals[*shape.column_site]);
    }
  }
  std::vector<std::vector<float>> norms;
  for (const auto& total : totals) {
    auto& norm = norms.emplace_back(total.size());
    std::transform(total.begin(), total.end(), norm.begin(),
                   [](double sum) { return static_cast<float>(std::sqrt(sum)); });
  }
  return norms;
}

std::vector<std::vector<float>> split_by_site(const at::Tensor& norms, std::span<const Site> sites) {
  const at::Tensor here = norms.cpu();
  std::span<const float> rest(here.const_data_ptr<float>(), static_cast<std::size_t>(here.numel()));
  std::vector<std::vector<float>> by_site;
  for (const auto& site : sites) {
    const auto of_site = rest.first(static_cast<std::size_t>(site.channels));
    by_site.emplace_back(of_site.begin(), of_site.end());
    rest = rest.subspan(of_site.size());
  }
  return by_site;
}

at::Tensor joined(std::span<const std::vector<float>> norms) {
  std::size_t channels = 0;
  for (const auto& of_site : norms) {
    channels += of_site.size();
  }
  const at::Tensor all = at::empty({static_cast<std::int64_t>(channels)}, at::kFloat);
  auto* next = all.mutable_data_ptr<float>();
  for (const auto& of_site : norms) {
    next = std::ranges::copy(of_site, next).out;
  }
  return all;
}

}  // namespace slicereduce
