#include "sampling/error_feedback.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <utility>

#include "core/add_row.hpp"
#include "core/error.hpp"
#include "sampling/indexed.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce {

namespace {

/// A parameter's memory and what a plan keeps of it.
struct Cut {
  const ParameterShape& shape;
  Placement placement;
  float* owed;

  [[nodiscard]] std::int64_t width() const { return shape.columns() * shape.taps(); }
  [[nodiscard]] std::int64_t kept_width() const { return static_cast<std::int64_t>(placement.places.size()); }
};

/// visit(dense row, compact row or -1) for each dense row.
template <typename Visit>
void for_each_row(const Cut& cut, const Visit& visit) {
  const std::int64_t grain = std::max<std::int64_t>(1, at::internal::GRAIN_SIZE / cut.width());
  at::parallel_for(0, cut.shape.rows(), grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      visit(row, cut.placement.compact_row[row]);
    }
  });
}

/// visit(a number of the memory, its number in the slices) for each that is kept.
template <typename Number, typename Visit>
void for_each_kept(const Cut& cut, Number* compact, const Visit& visit) {
  for_each_row(cut, [&](std::int64_t row, std::int64_t compact_row) {
    if (compact_row >= 0) {
      float* owed = cut.owed + row * cut.width();
      Number* slice = compact + compact_row * cut.kept_width();
      for (const std::int32_t place : cut.placement.places) {
        visit(owed[place], *slice++);
      }
    }
  });
}

/// One pass: the gradient is read, the memory read and written, the slices written.
template <typename Gradient>
void add_and_move(const Cut& cut, const Gradient* gradient, float* compact) {
  for_each_row(cut, [&](std::int64_t row, std::int64_t compact_row) {
    float* owed = cut.owed + row * cut.width();
    add_row(owed, gradient + row * cut.width(), cut.width());
    if (compact_row >= 0) {
      float* slice = compact + compact_row * cut.kept_width();
      for (const std::int32_t place : cut.placement.places) {
        *slice++ = std::exchange(owed[place], 0.0F);
      }
    }
  });
}

void move(const Cut& cut, float* compact) {
  for_each_kept(cut, compact, [](float& owed, float& slice) { slice = std::exchange(owed, 0.0F); });
}

void move_and_add(const Cut& cut, float* compact) {
  for_each_kept(cut, compact, [](float& owed, float& slice) { slice += std::exchange(owed, 0.0F); });
}

void take_on_cpu(const Cut& cut, const at::Tensor& dense_gradient, const at::Tensor& compact) {
  auto* out = compact.mutable_data_ptr<float>();
  if (!dense_gradient.defined()) {
    move(cut, out);
  } else if (dense_gradient.scalar_type() == at::kBFloat16) {
    add_and_move(cut, dense_gradient.const_data_ptr<at::BFloat16>(), out);
  } else {
    add_and_move(cut, dense_gradient.const_data_ptr<float>(), out);
  }
}

void add_back(const Cut& cut, const float* compact) {
  for_each_kept(cut, compact, [](float& owed, const float& slice) { owed += slice; });
}

at::Tensor ordered(const at::Tensor& gradient) {
  return gradient.contiguous(memory_format_of(gradient.sizes()));
}

at::Tensor zeros(const ParameterShape& shape, at::Device device) {
  return with_sizes(at::zeros({shape.numel()}, at::TensorOptions(device).dtype(at::kFloat)), shape.sizes);
}

/// Where nothing is cut, memory itself changes hands.
at::Tensor take_all(at::Tensor& owed, const at::Tensor& gradient) {
  at::Tensor all = std::exchange(owed, at::Tensor());
  if (!all.defined()) {
    return ordered(gradient.to(at::kFloat));
  }
  return gradient.defined() ? all.add_(gradient) : all;
}

}  // namespace

at::Tensor& ErrorFeedback::dense(std::size_t parameter, const ParameterShape& shape, at::Device device) {
  at::Tensor& owed = owed_.at(parameter);
  if (!owed.defined()) {
    owed = zeros(shape, device);
  }
  return owed;
}

void ErrorFeedback::forget() {
  owed_.assign(owed_.size(), {});
  returned_.assign(returned_.size(), {});
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
    const at::Tensor all = with_sizes(slice, shape.sizes);
    owed = owed.defined() ? owed.add_(all) : all;
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
    subtract_factored_and_add(last.slice, last.sent, in_memory_order(ordered(gradient)));
    return with_sizes(last.slice, shape.compact_sizes(plan));
  }
  settle(parameter);
  at::Tensor& owed = owed_.at(parameter);
  if (shape.whole(plan)) {
    return owed.defined() || gradient.defined() ? take_all(owed, gradient) : zeros(shape, placed.device());
  }
  if (is_compact && !owed.defined()) {
    return ordered(gradient.to(at::kFloat));
  }
  const at::Tensor& memory = dense(parameter, shape, placed.device());
  if (!memory.is_cpu()) {
    return indexed::take_owed(memory, shape, placed, gradient);
  }
  const Cut cut{.shape = shape, .placement = std::move(placement), .owed = memory.mutable_data_ptr<float>()};
  if (is_compact) {
    at::Tensor compact = ordered(gradient.to(at::kFloat));
    move_and_add(cut, compact.mutable_data_ptr<float>());
    return compact;
  }
  const at::Tensor compact = at::empty({shape.compact_numel(plan)}, at::kFloat);
  take_on_cpu(cut, gradient.defined() ? ordered(gradient) : gradient, compact);
  return with_sizes(compact, shape.compact_sizes(plan));
}

void ErrorFeedback::give_back(std::size_t parameter, const ParameterShape& shape, const PlacedPlan& placed,
                              const at::Tensor& unsent, const Gradient& sent) {
  const c10::NoGradGuard no_grad;
  const Plan& plan = placed.plan();
  require(unsent.numel() == shape.compact_numel(plan), "what was not sent is of another size than its plan");
  settle(parameter);
  const at::Tensor slice = in_memory_order(unsent);
  if (placed.device().is_cpu()) {
    returned_[parameter] = {.shape = shape, .placement = place(shape, plan), .slice = slice, .sent = sent};
    return;
  }
  if (sent.has_factors()) {
    subtract_factored(slice, sent);
  }
  at::Tensor& owed = owed_.at(parameter);
  if (shape.whole(plan)) {
    const at::Tensor all = with_sizes(slice, shape.sizes);
    owed = owed.defined() ? owed.add_(all) : all;
  } else {
    indexed::owe(dense(parameter, shape, placed.device()), shape, placed, unsent);
  }
}

}  // namespace slicereduce
