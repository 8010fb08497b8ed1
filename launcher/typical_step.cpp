#include "launcher/typical_step.hpp"

#include <utility>

namespace slicereduce {

TypicalStep::TypicalStep(const NetworkOptions& options, Layout layout)
    : options_(options),
      mode_(parse_mode(options.mode)),
      layout_(std::move(layout)),
      slice_layout_(make_slice_layout(layout_, options.row_groups() > 1)) {
  SampleSize size = options.size;
  size.ratio = options.ratio(mode_);
  const bool is_compact = mode_ == Mode::compact && size.ratio < 1;
  network_ = is_compact ? plan_of_size(layout_, size) : Plan::full(layout_.sites);
  slices_ = plan_of_size(slice_layout_, size, options.row_groups());
}

std::vector<LayerCost> TypicalStep::costs(const StepOptions& step, std::int64_t image_size) const {
  StepPlans plans{.network = network_, .slices = mode_ == Mode::feedback ? &slices_ : nullptr};
  if (mode_ == Mode::approximate) {
    plans.products = options_.products(options_.ratio(Mode::approximate));
  }
  return costs_of_step(layout_, plans, &slice_layout_, step, image_size);
}

bool TypicalStep::is_exact() const {
  const bool has_fixed_size = options_.ratio(mode_) == 1.0 || mode_ == Mode::approximate ||
                              make_sampler(options_.sampling(mode_).sampler)->fixed_size();
  return has_fixed_size &&
         (mode_ != Mode::feedback || groups_are_equal(slice_layout_, options_.row_groups()));
}

}  // namespace slicereduce
