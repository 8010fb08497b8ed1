#include "sampling/error_feedback.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <utility>

#include "core/add_row.hpp"
#include "core/error.hpp"
#include "sampling/columns.hpp"
#include "sampling/indexed.hpp"

namespace slicereduce {

namespace {

/// A parameter's memory and what a plan keeps of it.
struct Cut {
  const ParameterShape& shape;
  Placement placement;
  float* owed;

  [[nodiscard]] std::int64_t width() const { return shape.columns() * shape.taps(); }
  [[nodiscard]] std::int64_t kept_width() const {
    return static_cast<std::int64_t>(placement.columns.size()) * shape.taps();
  }
};

/// visit(taps, dense row, compact row or -1) for each dense row.
template <typename Visit>
void for_each_row(const Cut& cut, const Visit& visit) {
  const std::int64_t grain = std::max<std::int64_t>(1, at::internal::GRAIN_SIZE / cut.width());
  with_taps(cut.shape.taps(), [&](auto taps) {
    at::parallel_for(0, cut.shape.rows(), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        visit(taps, row, cut.placement.compact_row[row]);
      }
    });
  });
}

// NOLINTBEGIN(readability-non-const-parameter): clang-tidy does not see writes at an index that depends on
// Taps.
/// Moves the columns out of a row of memory.
template <typename Taps>
void move_columns(float* row, std::span<const std::int32_t> columns, Taps taps, float* compact) {
  for (const std::int32_t column : columns) {
    for (std::int64_t t = 0; t < taps; ++t) {
      *compact++ = std::exchange(row[column * taps + t], 0.0F);
    }
  }
}

template <typename Taps>
void add_columns_back(float* row, std::span<const std::int32_t> columns, Taps taps, const float* compact) {
  for (const std::int32_t column : columns) {
    for (std::int64_t t = 0; t < taps; ++t) {
      row[column * taps + t] += *compact++;
    }
  }
}
// NOLINTEND(readability-non-const-parameter)

/// One pass: the gradient is read, the memory read and written, the slices written.
template <typename Gradient>
void add_and_move(const Cut& cut, const Gradient* gradient, float* compact) {
  for_each_row(cut, [&](auto taps, std::int64_t row, std::int64_t compact_row) {
    float* owed = cut.owed + row * cut.width();
    if (gradient != nullptr) {
      add_row(owed, gradient + row * cut.width(), cut.width());
    }
    if (compact_row >= 0) {
      move_columns(owed, cut.placement.columns, taps, compact + compact_row * cut.kept_width());
    }
  });
}

void move_and_add(const Cut& cut, float* compact) {
  for_each_row(cut, [&](auto taps, std::int64_t row, std::int64_t compact_row) {
    if (compact_row >= 0) {
      float* slice = compact + compact_row * cut.kept_width();
      float* owed = cut.owed + row * cut.width();
      for (const std::int32_t column : cut.placement.columns) {
        for (std::int64_t t = 0; t < taps; ++t) {
          *slice++ += std::exchange(owed[column * taps + t], 0.0F);
        }
      }
    }
  });
}

void take_on_cpu(const Cut& cut, const at::Tensor& dense_gradient, const at::Tensor& compact) {
  auto* out = compact.mutable_data_ptr<float>();
  if (!dense_gradient.defined()) {
    add_and_move<float>(cut, nullptr, out);
  } else if (dense_gradient.scalar_type() == at::kBFloat16) {
    add_and_move(cut, dense_gradient.const_data_ptr<at::BFloat16>(), out);
  } else {
    add_and_move(cut, dense_gradient.const_data_ptr<float>(), out);
  }
}

void add_back(const Cut& cut, const float* compact) {
  for_each_row(cut, [&](auto taps, std::int64_t row, std::int64_t compact_row) {
    if (compact_row >= 0) {
      add_columns_back(cut.owed + row * cut.width(), cut.placement.columns, taps,
                       compact + compact_row * cut.kept_width());
    }
  });
}

/// Where nothing is cut, memory itself changes hands.
at::Tensor take_all(at::Tensor& owed, const at::Tensor& gradient) {
  at::Tensor all = std::exchange(owed, at::Tensor());
  if (!all.defined()) {
    return gradient.to(at::kFloat).contiguous();
  }
  return gradient.defined() ? all.add_(gradient.view(all.sizes())) : all;
}

}  // namespace

at::Tensor& ErrorFeedback::dense(std::size_t parameter, const ParameterShape& shape, at::Device device) {
  at::Tensor& owed = owed_.at(parameter);
  if (!owed.defined()) {
    owed = at::zeros(shape.sizes, at::TensorOptions(device).dtype(at::kFloat));
  }
  return owed;
}

std::span<at::Tensor> ErrorFeedback::owed() {
  for (std::size_t p = 0; p < returned_.size(); ++p) {
    settle(p);
  }
  return owed_;
}

void ErrorFeedback::settle(std::size_t parameter) {
  const c10::NoGradGuard no_grad;
  const auto [shape, placement, slice, sent] = std::exchange(returned_.at(parameter), {});
  if (!slice.defined()) {
    return;
  }
  if (sent.has_factors()) {
    subtract_factored(slice, sent);
  }
  at::Tensor& owed = owed_.at(parameter);
  if (slice.numel() == shape.numel()) {
    owed = owed.defined() ? owed.add_(slice.view(owed.sizes())) : slice.view(shape.sizes);
    return;
  }
  auto* memory = dense(parameter, shape, at::kCPU).mutable_data_ptr<float>();
  add_back({.shape = shape, .placement = placement, .owed = memory}, slice.const_data_ptr<float>());
}

at::Tensor ErrorFeedback::take(std::size_t parameter, const ParameterShape& shape, const PlacedPlan& placed,
                               const at::Tensor& gradient) {
  const c10::NoGradGuard no_grad;
  const Plan& plan = placed.plan();
  const bool is_compact = gradient.defined() && gradient.numel() == shape.compact_numel(plan);
  require(!gradient.defined() || is_compact || gradient.numel() == shape.numel(),
          "a gradient is neither of its parameter's size nor of its plan's");
  Placement placement = place(shape, plan);
  Returned& returned = returned_.at(parameter);
  const bool adds_nothing_else = !owed_.at(parameter).defined() || !shape.whole(plan);
  if (is_compact && adds_nothing_else && returned.slice.defined() && returned.placement == placement) {
    const Returned last = std::exchange(returned, {});
    subtract_factored_and_add(last.slice, last.sent, gradient.contiguous());
    return last.slice.view(shape.compact_sizes(plan));
  }
  settle(parameter);
  at::Tensor& owed = owed_.at(parameter);
  if (shape.whole(plan)) {
    return owed.defined() || gradient.defined()
               ? take_all(owed, gradient)
               : at::zeros(shape.sizes, at::TensorOptions(placed.device()).dtype(at::kFloat));
  }
  if (is_compact && !owed.defined()) {
    return gradient.to(at::kFloat).contiguous();
  }
  const at::Tensor& memory = dense(parameter, shape, placed.device());
  if (!memory.is_cpu()) {
    return indexed::take_owed(memory, shape, placed, gradient);
  }
  const Cut cut{.shape = shape, .placement = std::move(placement), .owed = memory.mutable_data_ptr<float>()};
  if (is_compact) {
    at::Tensor compact = gradient.to(at::kFloat).contiguous();
    move_and_add(cut, compact.mutable_data_ptr<float>());
    return compact;
  }
  at::Tensor compact = at::empty(shape.compact_sizes(plan), at::kFloat);
  take_on_cpu(cut, gradient.defined() ? gradient.contiguous() : gradient, compact);
  return compact;
}

void ErrorFeedback::give_back(std::size_t parameter, const ParameterShape& shape, const PlacedPlan& placed,
                              const at::Tensor& unsent, const Gradient& sent) {
  const c10::NoGradGuard no_grad;
  const Plan& plan = placed.plan();
  require(unsent.numel() == shape.compact_numel(plan), "what was not sent is of another size than its plan");
  settle(parameter);
  if (placed.device().is_cpu()) {
    returned_[parameter] = {.shape = shape, .placement = place(shape, plan), .slice = unsent, .sent = sent};
    return;
  }
  if (sent.has_factors()) {
    subtract_factored(unsent, sent);
  }
  at::Tensor& owed = owed_.at(parameter);
  if (shape.whole(plan)) {
    owed = owed.defined() ? owed.add_(unsent.view(owed.sizes())) : unsent.view(shape.sizes);
  } else {
    indexed::owe(dense(parameter, shape, placed.device()), shape, placed, unsent);
  }
}

}  // namespace slicereduce
