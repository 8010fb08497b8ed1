#include "models/slice_layout.hpp"

#include <algorithm>

namespace slicereduce {

namespace {

class Builder {
 public:
  explicit Builder(bool cut_rows) : cut_rows_(cut_rows) {}

  void add(ParameterShape shape, bool is_cut) {
    shape.row_site.reset();
    shape.column_site.reset();
    if (is_cut) {
      cut(shape);
    }
    layout_.parameters.push_back(std::move(shape));
  }

  SliceLayout done() { return std::move(layout_); }

 private:
  void cut(ParameterShape& shape) {
    shape.column_site = layout_.sites.size();
    layout_.sites.push_back(
        {.name = shape.name, .channels = shape.columns(), .in_turn = false, .row_site = {}});
    if (cut_rows_) {
      shape.row_site = layout_.sites.size();
      layout_.sites.back().row_site = shape.row_site;
      layout_.sites.push_back(
          {.name = shape.name + " rows", .channels = shape.rows(), .in_turn = true, .row_site = {}});
    }
  }

  bool cut_rows_;
  SliceLayout layout_;
};

}  // namespace

SliceLayout make_slice_layout(const Layout& layout, bool cut_rows) {
  Builder builder(cut_rows);
  for (std::size_t p = 0; p < layout.parameters.size(); ++p) {
    const auto& shape = layout.parameters[p];
    builder.add(shape, !shape.vector && p != layout.stem_weight);
  }
  return builder.done();
}

Plan plan_of_size(const SliceLayout& layout, const SampleSize& size, std::int64_t row_groups) {
  Plan plan = Plan::full(layout.sites);
  for (std::size_t site = 0; site < layout.sites.size(); ++site) {
    auto& set = plan.sets[site];
    if (layout.sites[site].in_turn) {
      set = neighbours(set.channels, row_groups, row_groups - 1);
    } else {
      set.kept.resize(size.kept(set.channels));
    }
  }
  return plan;
}

bool groups_are_equal(const SliceLayout& layout, std::int64_t row_groups) {
  return std::ranges::all_of(layout.sites, [&](const Site& site) {
    return !site.in_turn || site.channels % std::min(row_groups, site.channels) == 0;
  });
}

}  // namespace slicereduce
