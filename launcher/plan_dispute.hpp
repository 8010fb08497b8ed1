#pragma once

#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "sampling/planner.hpp"

namespace slicereduce {

/// Collective. Called where ranks drew different plans: says which sites differ, on which ranks.
[[nodiscard]] std::string describe_dispute(std::span<const Site> sites, const Plan& plan,
                                           Communicator& communicator);

/// Collective. What rank 0's planner remembers, on all ranks; `own` is this rank's, for the same sites.
[[nodiscard]] PlannerState broadcast_planner(const PlannerState& own, Communicator& communicator);

}  // namespace slicereduce
