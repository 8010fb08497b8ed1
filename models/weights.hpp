#pragma once

#include <string>
#include <string_view>

#include "core/state_dict.hpp"
#include "models/network.hpp"
#include "sampling/planner.hpp"

namespace slicereduce {

/// Parameters and batch norm buffers under torchvision's names and in its order, contiguous: what its
/// load_state_dict(strict=True) takes. `steps` becomes num_batches_tracked.
[[nodiscard]] StateDict network_state(const Network& network, const NormStatistics& statistics,
                                      std::int64_t steps);

/// The same for the network that `plan` leaves: compact tensors, and `channels.SITE` (int64, the kept
/// channels) and `scale.SITE` (float) for each site that leaves something out or scales.
[[nodiscard]] StateDict sampled_state(const Network& network, const Plan& plan,
                                      const NormStatistics& statistics, std::int64_t steps);

/// That `state` holds what a network of this layout has. Throws Error(input) naming `where` and the tensor.
void require_parameters(const Layout& layout, const StateDict& state, std::string_view where);

/// Takes every parameter and statistic from `state`. Throws Error(input) naming `where` (the file) and
/// what is missing, superfluous, or of another shape; nothing is changed then.
void load_network_state(Network& network, const StateDict& state, std::string_view where);

/// Tensors by name, one a parameter, as momentum is stored: values are copied into `tensors`.
/// Throws Error(input) as above.
void load_parameter_tensors(const Network& network, std::span<const at::Tensor> tensors,
                            const StateDict& state, std::string_view where);
[[nodiscard]] StateDict parameter_tensors(const Network& network, std::span<const at::Tensor> tensors);

/// Batch norm buffers alone: running_mean and running_var.
[[nodiscard]] StateDict statistics_state(const Network& network, const NormStatistics& statistics);
void load_statistics(const Network& network, NormStatistics& statistics, const StateDict& state,
                     std::string_view where);

/// A plan as tensors, and back. Throws Error(input) where `state` doesn't fit the sites.
[[nodiscard]] StateDict plan_state(std::span<const Site> sites, const Plan& plan);
[[nodiscard]] Plan plan_from_state(std::span<const Site> sites, const StateDict& state,
                                   std::string_view where);

/// All that a planner remembers: its plan and, as `waiting.SITE` (int32), what it counts. Back into
/// `planner`, which goes on at `ratio`; it starts counting where the file has no counts of its kind.
[[nodiscard]] StateDict planner_state(const Planner& planner);
void load_planner(Planner& planner, double ratio, const StateDict& state, std::string_view where);

}  // namespace slicereduce
