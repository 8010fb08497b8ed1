#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace slicereduce {

/// Ranks that are threads of one process: one rank for a program that was started without a
/// launcher, several for tests. Sums are taken in rank order. A rank that brings another operation, size or
/// type than the others makes that collective throw Error(disagreement) on all ranks.
class InProcessGroup {
 public:
  /// Throws Error(invariant) unless world_size >= 1.
  explicit InProcessGroup(int world_size);
  ~InProcessGroup();
  InProcessGroup(const InProcessGroup&) = delete;
  InProcessGroup& operator=(const InProcessGroup&) = delete;
  InProcessGroup(InProcessGroup&&) = delete;
  InProcessGroup& operator=(InProcessGroup&&) = delete;

  /// Owned by the group. Each is for one rank's threads; the group outlives its Pendings.
  [[nodiscard]] Communicator& rank(int rank);

  /// A rank is gone: from now on every collective that is not yet complete throws Error(mpi) with
  /// `reason`, so that nobody waits for it. From any thread.
  void abort(const std::string& reason);

 private:
  class Exchange;
  class Rank;
  class RankPending;
  std::unique_ptr<Exchange> exchange_;
  std::vector<std::unique_ptr<Rank>> ranks_;
};

}  // namespace slicereduce
