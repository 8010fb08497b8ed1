#include "sampling/column_norms.hpp"

#include <algorithm>
#include <cmath>

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
  for (std::int64_t c = 0; c < columns_; ++c) {
    float sum = 0;
    for (std::int64_t t = 0; t < taps_; ++t) {
      sum += of_row[c * taps_ + t];
    }
    sums_[block * columns_ + c] = sum;
  }
}

void ColumnSquares::add_to(std::span<double> totals) const {
  for (std::int64_t block = 0; block < blocks_; ++block) {
    for (std::int64_t c = 0; c < columns_; ++c) {
      totals[c] += sums_[block * columns_ + c];
    }
  }
}

std::vector<std::vector<float>> site_norms(std::span<const Site> sites,
                                           std::span<const ParameterShape* const> shapes,
                                           std::span<const ColumnSquares> squares) {
  std::vector<std::vector<double>> totals;
  for (const auto& site : sites) {
    totals.emplace_back(site.channels, 0.0);
  }
  for (std::size_t p = 0; p < shapes.size(); ++p) {
    // A vector's columns are its own channels, not inputs that it reads.
    if (shapes[p]->column_site && !shapes[p]->vector) {
      squares[p].add_to(totals[*shapes[p]->column_site]);
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

}  // namespace slicereduce
