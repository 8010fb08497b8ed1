#include "sampling/sliced_sgd.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <type_traits>

#include "core/error.hpp"
#include "core/processors.hpp"
#include "core/text.hpp"
#include "sampling/indexed.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce {

namespace {

struct Step {
  float lr;
  float momentum;
  float weight_decay;
};

/// `count` neighbouring weights. Returns nothing but what it writes: w, m, and the squares of the new w.
template <bool kNesterov>
SLICEREDUCE_FOR_EACH_X86 void update_run(float* __restrict w, float* __restrict m, const float* __restrict g,
                                         float* __restrict squares, std::int64_t count, Step step) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float d = g[i] + step.weight_decay * w[i];
    m[i] = step.momentum * m[i] + d;
    w[i] -= step.lr * (kNesterov ? d + step.momentum * m[i] : m[i]);
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

}  // namespace

void SgdConfig::validate() const {
  if (!(momentum >= 0 && momentum < 1)) {
    throw Error(ErrorKind::usage,
                concat("momentum = ", momentum, ": expected 0 <= momentum < 1 (--momentum)"));
  }
  if (!(weight_decay >= 0)) {
    throw Error(ErrorKind::usage,
                concat("weight_decay = ", weight_decay, ": expected at least 0 (--weight-decay)"));
  }
  if (nesterov && momentum == 0) {
    throw Error(ErrorKind::usage, "--nesterov needs a momentum above 0 (--momentum)");
  }
}

SlicedSgd::SlicedSgd(std::span<SlicedParameter> parameters, std::span<const Site> sites, SgdConfig config)
    : parameters_(parameters), sites_(sites), config_(config) {
  for (const auto& parameter : parameters_) {
    (void)in_memory_order(parameter.value);  // it throws where that can't be
    momentum_.push_back(at::zeros_like(parameter.value));
    squares_.emplace_back(parameter.shape);
  }
  refresh_norms();
}

bool SlicedSgd::on_cpu() const { return parameters_.empty() || parameters_.front().value.is_cpu(); }

void SlicedSgd::refresh_norms() {
  if (!on_cpu()) {
    norms_ = indexed::site_norms(sites_, parameters_);
    return;
  }
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    squares_[p] = column_squares(parameters_[p]);
  }
  norms_ = site_norms(sites_, parameters_, squares_);
}

struct SlicedSgd::Block {
  std::size_t parameter;
  const ParameterShape* shape;
  std::int64_t index;
  const Placement* placement;
  const Gradient* gradient;
};

template <typename GradientRow>
void SlicedSgd::update_block(const Block& block, const GradientRow& gradient_row, double lr) {
  const auto& shape = *block.shape;
  auto& squares = squares_[block.parameter];
  const auto& [compact_row, places] = *block.placement;
  const bool decays = config_.decay_vectors || !shape.vector;
  const Step step{.lr = static_cast<float>(lr),
                  .momentum = static_cast<float>(config_.momentum),
                  .weight_decay = decays ? static_cast<float>(config_.weight_decay) : 0.0F};
  const auto update_row = config_.nesterov ? update_run<true> : update_run<false>;
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

void SlicedSgd::update_block(const Block& block, double lr) {
  const Gradient& gradient = *block.gradient;
  const auto width = static_cast<std::int64_t>(block.placement->places.size());
  const auto rows_of = [&]<typename Number>(const Number* numbers) {
    update_block(block, [=](std::int64_t row) { return numbers + row * width; }, lr);
  };
  if (gradient.has_factors()) {
    require(gradient.right.size(1) == width, "a gradient's factors have another shape than its plan");
    std::vector<float> buffer(width);
    const auto multiplied_row = [&](std::int64_t row) {
      factored_row(gradient, row, buffer.data());
      return buffer.data();
    };
    update_block(block, multiplied_row, lr);
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

void SlicedSgd::apply(const PlacedPlan& plan, std::span<const Gradient> gradients, double lr) {
  require(gradients.size() == parameters_.size(), "SGD needs a gradient for every parameter");
  update(0, parameters_, plan, gradients, lr);
  end_step();
}

void SlicedSgd::update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
                       std::span<const Gradient> gradients, double lr) {
  require(gradients.size() == cut.size() && first + cut.size() <= parameters_.size(),
          "SGD needs a gradient for every parameter that it updates");
  for (std::size_t i = 0; i < cut.size(); ++i) {
    require(gradients[i].numel() == cut[i].shape.compact_numel(plan.plan()),
            "a gradient has another size than its plan");
    if (!gradients[i].has_factors()) {
      (void)in_memory_order(gradients[i].values);
    }
  }
  if (on_cpu()) {
    update_on_cpu(first, cut, plan.plan(), gradients, lr);
  } else {
    indexed::update(cut, momentum().subspan(first, cut.size()), plan, gradients, config_, lr);
  }
}

void SlicedSgd::end_step() {
  if (on_cpu()) {
    norms_ = site_norms(sites_, parameters_, squares_);
  } else {
    refresh_norms();
  }
}

std::vector<std::vector<float>> SlicedSgd::norms(std::span<const Site> sites,
                                                 std::span<const SlicedParameter> cut) const {
  return on_cpu() ? site_norms(sites, cut, squares_) : indexed::site_norms(sites, cut);
}

void SlicedSgd::update_on_cpu(std::size_t first, std::span<const SlicedParameter> cut, const Plan& plan,
                              std::span<const Gradient> gradients, double lr) {
  std::vector<Placement> placements;
  placements.reserve(cut.size());
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < cut.size(); ++i) {
    placements.push_back(place(cut[i].shape, plan));
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
      update_block(blocks[b], lr);
    }
  });
}

}  // namespace slicereduce
