#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/activity.hpp"

namespace slicereduce {

/// What was last heard of other ranks.
class Roster {
 public:
  using Clock = std::chrono::steady_clock;

  /// `hosts` by rank. All of `watched` count as heard at `now`.
  Roster(std::vector<std::string> hosts, const std::vector<int>& watched, Clock::time_point now);

  void hear(int rank, const Beat& beat, Clock::time_point now);
  /// Counts all as heard at `now`: nobody can have been heard for a while, for a reason of this rank's own.
  void excuse_all(Clock::time_point now);

  /// The rank that has been silent for longest, if that is longer than `limit`.
  [[nodiscard]] std::optional<int> silent(Clock::duration limit, Clock::time_point now) const;
  /// The rank that the others, and `self` at `own`, most likely wait for: the one that is furthest behind
  /// and waits for nobody. Nothing where all that are known wait.
  [[nodiscard]] std::optional<int> late(int self, const Beat& own, Clock::time_point now) const;

  /// "rank 2 on node5, last heard 31 s ago (step 7, training for 0 s)".
  [[nodiscard]] std::string describe(int rank, Clock::time_point now) const;
  [[nodiscard]] const std::string& host(int rank) const { return hosts_.at(static_cast<std::size_t>(rank)); }

 private:
  struct Entry {
    Beat beat;
    Clock::time_point heard;
  };
  std::vector<std::string> hosts_;
  std::map<int, Entry> entries_;  // by rank
};

}  // namespace slicereduce
