#include "sampling/placed_plan.hpp"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <span>
#include <utility>

#include "core/error.hpp"

namespace slicereduce {

namespace {

template <typename T>
at::Tensor on_device(std::span<const T> values, at::Device device) {
  // from_blob never writes to what it borrows here, and the copy ends the loan.
  const at::Tensor borrowed =
      at::from_blob(const_cast<T*>(values.data()), {static_cast<std::int64_t>(values.size())},
                    c10::CppTypeToScalarType<T>::value);
  if (device.is_cpu() || values.empty()) {
    return borrowed.to(device, /*non_blocking=*/false, /*copy=*/true);
  }
  // From pinned memory, which LibTorch keeps until it was read: nobody waits for the device.
  return borrowed.pin_memory().to(device, /*non_blocking=*/true);
}

/// The indices of all sets and the factors of all that scale, one after the other.
struct Packed {
  explicit Packed(std::span<const ChannelSet> sets) {
    for (const ChannelSet& set : sets) {
      kept.insert(kept.end(), set.kept.begin(), set.kept.end());
      scale.insert(scale.end(), set.scale.begin(), set.scale.end());
    }
  }
  std::vector<std::int64_t> kept;
  std::vector<float> scale;
};

}  // namespace

PlacedSet::PlacedSet(ChannelSet channels, at::Device device) : set(std::move(channels)) {
  const Packed packed(std::span(&set, 1));
  kept = on_device<std::int64_t>(packed.kept, device);
  if (!set.scale.empty()) {
    scale = on_device<float>(packed.scale, device);
  }
}

PlacedSet::PlacedSet(ChannelSet channels, at::Tensor indices, at::Tensor factors)
    : set(std::move(channels)), kept(std::move(indices)), scale(std::move(factors)) {}

PlacedPlan::PlacedPlan(Plan plan, at::Device device) : plan_(std::move(plan)), device_(device) {
  const Packed packed(plan_.sets);
  indices_ = on_device<std::int64_t>(packed.kept, device);
  cut(on_device<float>(packed.scale, device));
}

PlacedPlan::PlacedPlan(Plan plan, at::Tensor indices)
    : plan_(std::move(plan)), device_(indices.device()), indices_(std::move(indices)) {
  require(std::ranges::all_of(plan_.sets, &std::vector<float>::empty, &ChannelSet::scale),
          "a plan that scales needs its factors");
  cut({});
}

void PlacedPlan::cut(const at::Tensor& scale) {
  std::int64_t next_kept = 0;
  std::int64_t next_scale = 0;
  for (const ChannelSet& set : plan_.sets) {
    const auto factors = static_cast<std::int64_t>(set.scale.size());
    sets_.push_back(
        std::make_shared<const PlacedSet>(set, indices_.narrow(0, next_kept, set.size()),
                                          factors > 0 ? scale.narrow(0, next_scale, factors) : at::Tensor()));
    next_kept += set.size();
    next_scale += factors;
  }
}

}  // namespace slicereduce
