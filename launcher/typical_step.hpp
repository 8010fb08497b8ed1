#pragma once

#include <cstdint>
#include <vector>

#include "launcher/mode.hpp"
#include "launcher/train_options.hpp"
#include "models/cost.hpp"
#include "models/layout.hpp"
#include "models/slice_layout.hpp"
#include "sampling/plan.hpp"

namespace slicereduce {

/// A step as a sampler of fixed size would have it, known before there are weights to sample from.
class TypicalStep {
 public:
  TypicalStep(const NetworkOptions& options, Layout layout);

  /// What each of its layers costs.
  [[nodiscard]] std::vector<LayerCost> costs(const StepOptions& step, std::int64_t image_size) const;
  /// Whether every step sends as much as this one.
  [[nodiscard]] bool is_exact() const;

 private:
  NetworkOptions options_;
  Mode mode_;
  Layout layout_;
  SliceLayout slice_layout_;
  Plan network_;
  Plan slices_;
};

}  // namespace slicereduce
