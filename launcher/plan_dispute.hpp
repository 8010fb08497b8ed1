#pragma once

#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "sampling/plan.hpp"

namespace slicereduce {

/// Collective. Called where ranks drew different plans: says which sites differ, on which ranks.
[[nodiscard]] std::string describe_dispute(std::span<const Site> sites, const Plan& plan,
                                           Communicator& communicator);

/// Collective. Rank 0's plan, on all ranks.
[[nodiscard]] Plan broadcast_plan(const Plan& plan, Communicator& communicator);

}  // namespace slicereduce
