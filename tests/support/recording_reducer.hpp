#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "comm/gradient_reducer.hpp"
#include "sampling/sliced_parameter.hpp"

namespace slicereduce::testing {

/// Passes everything on, and adds up the means that came back, dense and in float64.
class RecordingReducer final : public GradientReducer {
 public:
  explicit RecordingReducer(GradientReducer& real) : real_(real) {}

  void begin(std::span<const SlotShape> slots, std::uint64_t digest, bool wants_stop) override {
    slots_.assign(slots.begin(), slots.end());
    real_.begin(slots, digest, wants_stop);
  }
  void add(std::size_t slot, const at::Tensor& gradient) override {
    if (before_adding_) {
      before_adding_();
    }
    real_.add(slot, gradient);
  }
  [[nodiscard]] std::size_t wait_for(std::size_t slot) override {
    const std::size_t reduced = real_.wait_for(slot);
    if (!watch_ || reduced == 0) {
      return reduced;
    }
    watch_(slot);
    return slot + 1;
  }
  [[nodiscard]] std::optional<ReduceTimes> wait() override { return real_.wait(); }
  [[nodiscard]] Gradient mean(std::size_t slot) override { return real_.mean(slot); }
  [[nodiscard]] bool loses() const override { return real_.loses(); }
  void subtract_sent(std::size_t slot, const at::Tensor& gradient) override {
    real_.subtract_sent(slot, gradient);
  }

  /// From now on called by each add(), in the midst of backward.
  void before_adding(std::function<void()> call) { before_adding_ = std::move(call); }
  /// From now on slots come back one at a time, and each first goes by `watch(slot)`.
  void watch_slots(std::function<void(std::size_t)> watch) { watch_ = std::move(watch); }

  /// Of the last step; their spans are of its plan.
  [[nodiscard]] std::span<const SlotShape> slots() const { return slots_; }

  /// After a step: slots are parameters from last to first, cut as `plan` says.
  void add_means(std::span<const SlicedParameter> cut, const Plan& plan) {
    const PlacedPlan placed(plan, at::kCPU);
    for (std::size_t p = 0; p < cut.size(); ++p) {
      const at::Tensor mean = real_.mean(cut.size() - 1 - p).dense().to(at::kFloat);
      const at::Tensor dense = scatter_slices(cut[p].shape, placed, mean).to(at::kDouble);
      if (sums_.size() <= p) {
        sums_.push_back(dense);
      } else {
        sums_[p] += dense;
      }
    }
  }
  [[nodiscard]] const std::vector<at::Tensor>& sums() const { return sums_; }

 private:
  GradientReducer& real_;
  std::function<void()> before_adding_;
  std::function<void(std::size_t)> watch_;
  std::vector<SlotShape> slots_;
  std::vector<at::Tensor> sums_;
};

}  // namespace slicereduce::testing
