#pragma once

#include <mpi.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.hpp"
#include "launcher/activity.hpp"
#include "launcher/roster.hpp"

namespace slicereduce {

/// Notices a rank that stands still, which MPI itself does not: one that was stopped, or whose machine or
/// link is gone. On every rank a thread of its own tells rank 0 what the rank is at, and rank 0's tells all
/// others. So rank 0 watches everybody, and everybody watches rank 0.
class Watchdog {
 public:
  /// Is called from the watchdog's thread, once, with a message that names the rank. It should end the
  /// process.
  using OnSilence = std::function<void(const std::string&)>;

  /// Collective. A rank is silent that was not heard for `limit`, at least a second. What is referred to must
  /// outlive this.
  Watchdog(MPI_Comm parent, Communicator& communicator, const Activity& activity,
           std::chrono::milliseconds limit, OnSilence on_silence);
  /// Not collective, since it may be on the way from an error. Frees nothing, for the same reason.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  Watchdog(Watchdog&&) = delete;
  Watchdog& operator=(Watchdog&&) = delete;

  /// "rank 1 on node7, step 7, training for 0 s": this rank.
  [[nodiscard]] std::string describe_self() const;
  /// "; they wait for rank 3 on node7, ...", as far as this rank can tell; else nothing.
  [[nodiscard]] std::string whom_they_wait_for() const;

 private:
  struct Peer;

  void run(const std::stop_token& stop);
  void speak();
  void listen();
  /// Of this rank: nothing is under way afterwards.
  void fall_silent();
  /// Whether it said so.
  [[nodiscard]] bool report_silence();
  [[nodiscard]] Beat own_beat() const;

  MPI_Comm messages_ = MPI_COMM_NULL;
  const Communicator& communicator_;
  const Activity& activity_;
  const std::chrono::milliseconds limit_;
  const OnSilence on_silence_;
  std::vector<Peer> peers_;

  mutable std::mutex mutex_;  ///< guards the roster
  std::unique_ptr<Roster> roster_;

  std::jthread thread_;  ///< the last member: it uses all others
};

}  // namespace slicereduce
