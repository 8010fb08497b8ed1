#include <ATen/Parallel.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/error.hpp"
#include "core/processors.hpp"
#include "sampling/column_norms.hpp"
#include "sampling/memory_order.hpp"
#include "sampling/weight_passes.hpp"

namespace slicereduce {

namespace {

/// `count` neighbouring weights. Returns nothing but what it writes: w, m, and the squares of the new w.
template <bool kNesterov>
SLICEREDUCE_FOR_EACH_X86 void update_run(float* __restrict w, float* __restrict m, const float* __restrict g,
                                         float* __restrict squares, std::int64_t count, SgdStep step) {
  for (std::int64_t i = 0; i < count; ++i) {
    update_weight<kNesterov>(g[i], step, w[i], m[i]);
    squares[i] += w[i] * w[i];
  }
}

/// A row's gradient in its dense places, zero elsewhere.
class SpreadRow {
 public:
  SpreadRow(std::span<const std::int32_t> places, std::int64_t width)
      : places_(places), row_(static_cast<std::size_t>(width), 0.0F) {}

  template <typename Number>
  const float* operator()(const Number* kept) {
    if (places_.size() < row_.size()) {
      scatter_row(kept, places_, row_.data());
      return row_.data();
    }
    if constexpr (std::is_same_v<Number, float>) {
      return kept;
    } else {
      std::copy_n(kept, row_.size(), row_.data());
      return row_.data();
    }
  }

 private:
  std::span<const std::int32_t> places_;
  std::vector<float> row_;
};

class HostPasses final : public WeightPasses {
 public:
  HostPasses(std::span<const SlicedParameter> parameters, std::span<const at::Tensor> momentum)
      : parameters_(parameters), momentum_(momentum.begin(), momentum.end()) {
    refresh();
  }

  void update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
              std::span<const Gradient> gradients, const SgdRule& rule) override;

  void refresh() override {
    squares_.clear();
    for (const auto& parameter : parameters_) {
      squares_.push_back(column_squares(parameter));
    }
  }

  [[nodiscard]] at::Tensor norms(std::span<const Site> sites,
                                 std::span<const SlicedParameter> cut) const override {
    return joined(site_norms(sites, cut, squares_));
  }

 private:
  struct Block {
    std::size_t parameter;
    const ParameterShape* shape;
    std::int64_t index;
    const Placement* placement;
    const Gradient* gradient;
  };
  /// `gradient_row(r)` points to compact row r.
  template <typename GradientRow>
  void update_block(const Block& block, const GradientRow& gradient_row, const SgdRule& rule);
  void update_block(const Block& block, const SgdRule& rule);

  std::span<const SlicedParameter> parameters_;
  std::vector<at::Tensor> momentum_;
  std::vector<ColumnSquares> squares_;
};

template <typename GradientRow>
void HostPasses::update_block(const Block& block, const GradientRow& gradient_row, const SgdRule& rule) {
  auto& squares = squares_[block.parameter];
  const auto& [compact_row, places] = *block.placement;
  const SgdStep step = rule.of(*block.shape);
  const auto update_row = rule.nesterov ? update_run<true> : update_run<false>;
  auto* w = parameters_[block.parameter].value.mutable_data_ptr<float>();
  auto* m = momentum_[block.parameter].mutable_data_ptr<float>();

  const std::int64_t width = squares.row_numel();
  const std::vector<float> zero(width, 0.0F);
  SpreadRow spread(places, width);
  std::vector<float> of_row(width, 0.0F);
  for (std::int64_t row = squares.first_row(block.index); row < squares.end_row(block.index); ++row) {
    const float* gradient = compact_row[row] >= 0 ? spread(gradient_row(compact_row[row])) : zero.data();
    update_row(w + row * width, m + row * width, gradient, of_row.data(), width, step);
  }
  squares.finish(block.index, of_row);
}

void HostPasses::update_block(const Block& block, const SgdRule& rule) {
  const Gradient& gradient = *block.gradient;
  const auto width = static_cast<std::int64_t>(block.placement->places.size());
  const auto rows_of = [&]<typename Number>(const Number* numbers) {
    update_block(block, [=](std::int64_t row) { return numbers + row * width; }, rule);
  };
  if (gradient.has_factors()) {
    require(gradient.right.size(1) == width, "a gradient's factors have another shape than its plan");
    std::vector<float> buffer(width);
    const auto multiplied_row = [&](std::int64_t row) {
      factored_row(gradient, row, buffer.data());
      return buffer.data();
    };
    update_block(block, multiplied_row, rule);
    return;
  }
  switch (gradient.values.scalar_type()) {
    case at::kFloat:
      return rows_of(gradient.values.const_data_ptr<float>());
    case at::kBFloat16:
      return rows_of(gradient.values.const_data_ptr<at::BFloat16>());
    case at::kHalf:
      return rows_of(gradient.values.const_data_ptr<at::Half>());
    default:
      require(false, "gradients are float, bfloat16 or half");
  }
}

void HostPasses::update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
                        std::span<const Gradient> gradients, const SgdRule& rule) {
  require(!rule.live, "the host's passes know the learning rate before they run");
  std::vector<Placement> placements;
  placements.reserve(cut.size());
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < cut.size(); ++i) {
    placements.push_back(place(cut[i].shape, plan.plan()));
    for (std::int64_t block = 0; block < squares_[first + i].blocks(); ++block) {
      blocks.push_back({.parameter = first + i,
                        .shape = &cut[i].shape,
                        .index = block,
                        .placement = &placements[i],
                        .gradient = &gradients[i]});
    }
  }
  at::parallel_for(0, static_cast<std::int64_t>(blocks.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      update_block(blocks[b], rule);
    }
  });
}

}  // namespace

std::unique_ptr<WeightPasses> make_host_passes(std::span<const SlicedParameter> parameters,
                                               std::span<const at::Tensor> momentum) {
  return std::make_unique<HostPasses>(parameters, momentum);
}

}  // namespace slicereduce
