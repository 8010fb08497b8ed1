#pragma once

#include <chrono>
#include <string>

#include "comm/communicator.hpp"
#include "comm/link_model.hpp"
#include "comm/mpi_communicator.hpp"

namespace slicereduce {

/// Collective. The link that would explain, as a ring, what a small and a large AllReduce of these ranks
/// take, as gradients are reduced and with nothing else to do: the slowest rank's, the same on all ranks.
/// Takes some tenths of a second. Link{} for a single rank. Throws Error(mpi) past the timeout.
[[nodiscard]] Link measure_link(Communicator& communicator, std::chrono::milliseconds timeout);

/// From the time of an AllReduce of next to nothing, and of `bytes`; see ring_allreduce_s().
[[nodiscard]] Link link_of(double small_s, double large_s, double bytes, int ranks);

struct HierarchyChoice {
  std::string value;   ///< of --hierarchy: on, off, or auto where there is nothing to choose
  std::string reason;  ///< a line for the log; empty where nothing was measured
};

/// Collective. Sets how `communicator` reduces: in two levels with `on`, as one ring with `off`, and with
/// `auto` as is faster for a message of a bucket's size, by measurement. Without two levels there is one
/// ring.
[[nodiscard]] HierarchyChoice settle_hierarchy(MpiCommunicator& communicator, const std::string& asked,
                                               std::chrono::milliseconds timeout);

}  // namespace slicereduce
