#pragma once

#include <mpi.h>

#include <deque>
#include <memory>
#include <optional>

#include "comm/communicator.hpp"

namespace slicereduce {

/// Numbers in memory as MPI counts and sums them, in place.
struct MpiNumbers {
  void* data;
  int count;
  MPI_Datatype type;
  MPI_Op sum;
};

/// AllReduce in two levels: the ranks of a node reduce in shared memory to one of them, these leaders
/// AllReduce over the network, and each spreads the result on its node. A link carries 2 (N - 1) / N of the
/// bytes for N nodes, whatever their number of ranks, where a ring over all n ranks takes 2 (n - 1) / n; and
/// a message waits for 2 (N - 1) others, not 2 (n - 1).
///
/// Each level has a communicator of its own. On all of them collectives start in the order of start(), as
/// MPI demands, whichever is done first.
class NodeHierarchy {
 public:
  /// Collective. Ranks of `parent` that give the same `node` (at least 0) reduce together.
  NodeHierarchy(MPI_Comm parent, int node);
  /// Frees nothing; see close().
  ~NodeHierarchy() = default;
  NodeHierarchy(const NodeHierarchy&) = delete;
  NodeHierarchy& operator=(const NodeHierarchy&) = delete;
  NodeHierarchy(NodeHierarchy&&) = delete;
  NodeHierarchy& operator=(NodeHierarchy&&) = delete;

  /// Collective. Nothing may be under way.
  void close();

  /// Collective. The Pending must not outlive this.
  [[nodiscard]] std::unique_ptr<Pending> start(const MpiNumbers& numbers);

 private:
  class Stages;
  [[nodiscard]] bool leads() const { return leaders_ != MPI_COMM_NULL; }

  MPI_Comm gather_ = MPI_COMM_NULL;   ///< this node's ranks, the leader is 0
  MPI_Comm spread_ = MPI_COMM_NULL;   ///< the same
  MPI_Comm leaders_ = MPI_COMM_NULL;  ///< one of each node; of other ranks null
  std::deque<Stages*> to_cross_;      ///< have not started it, in order
  std::deque<Stages*> to_spread_;     ///< likewise
};

/// Collective. This rank's node as a number, where there are two levels: several nodes, and one of them has
/// several ranks.
[[nodiscard]] std::optional<int> node_to_reduce_on(MPI_Comm parent);

}  // namespace slicereduce
