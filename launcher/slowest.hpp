#pragma once

#include <vector>

#include "comm/communicator.hpp"

namespace slicereduce {

/// Collective. Element by element the largest over ranks: the slowest rank sets everybody's time. All ranks
/// have equally many.
[[nodiscard]] std::vector<double> slowest_of_ranks(const std::vector<double>& times,
                                                   Communicator& communicator);

/// Of `values`, which are not empty; `q` in [0, 1], 0.5: the median, by the nearest rank.
[[nodiscard]] double quantile(std::vector<double> values, double q);

}  // namespace slicereduce
