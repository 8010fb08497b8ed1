#pragma once

#include <vector>

#include "models/layout.hpp"
#include "sampling/plan.hpp"
#include "sampling/planner.hpp"

namespace slicereduce {

/// How gradients are cut where the network itself is not: forward and backward are exact, and each weight has
/// sites of its own, one for its columns (input channels) and, on request, one for its rows (output
/// channels), which go out in turn. The stem's weight is not cut, it has three columns; nor are vectors.
struct SliceLayout {
  std::vector<Site> sites;
  std::vector<ParameterShape> parameters;  ///< those of the network's layout, in its order
};

[[nodiscard]] SliceLayout make_slice_layout(const Layout& layout, bool cut_rows);

/// A plan with the sizes that a sampler of fixed size would keep, and the largest group of rows.
[[nodiscard]] Plan plan_of_size(const SliceLayout& layout, const SampleSize& size, std::int64_t row_groups);

/// Whether all groups of rows are of one size, so that every step sends as much as another.
[[nodiscard]] bool groups_are_equal(const SliceLayout& layout, std::int64_t row_groups);

}  // namespace slicereduce
