#include "launcher/watchdog.hpp"

#include <algorithm>
#include <condition_variable>
#include <utility>

#include "comm/check_mpi.hpp"
#include "core/error.hpp"
#include "core/host_name.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kTag = 0;

/// Often enough that a late one is no silence, and seldom enough to cost nothing.
milliseconds interval_for(milliseconds limit) {
  return std::clamp(limit / 10, milliseconds{20}, milliseconds{1000});
}

/// Rank 0's are all others, the others' is rank 0.
std::vector<int> watched_by(int rank, int world_size) {
  std::vector<int> watched;
  for (int other = 0; other < world_size; ++other) {
    if (other != rank && (rank == 0 || other == 0)) {
      watched.push_back(other);
    }
  }
  return watched;
}

}  // namespace

/// Both directions to another rank, of which at most one message each is under way.
struct Watchdog::Peer {
  int rank = 0;
  Beat outgoing;
  Beat incoming;
  MPI_Request sending = MPI_REQUEST_NULL;
  MPI_Request receiving = MPI_REQUEST_NULL;
};

Watchdog::Watchdog(MPI_Comm parent, Communicator& communicator, const Activity& activity, milliseconds limit,
                   OnSilence on_silence)
    : communicator_(communicator),
      activity_(activity),
      limit_(std::max(limit, milliseconds{1000})),
      on_silence_(std::move(on_silence)) {
  check_mpi(MPI_Comm_dup(parent, &messages_), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(messages_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  const std::vector<int> watched = watched_by(communicator.rank(), communicator.world_size());
  roster_ = std::make_unique<Roster>(allgather_texts(communicator, host_name()), watched, Clock::now());
  peers_.resize(watched.size());
  for (std::size_t i = 0; i < watched.size(); ++i) {
    peers_[i].rank = watched[i];
  }
  if (!peers_.empty()) {
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }
}

Watchdog::~Watchdog() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
}

std::string Watchdog::describe_self() const {
  const int self = communicator_.rank();
  return concat("rank ", self, " on ", roster_->host(self), ", ", describe(own_beat()));
}

std::string Watchdog::whom_they_wait_for() const {
  const std::lock_guard lock(mutex_);
  const int self = communicator_.rank();
  const auto now = Clock::now();
  const std::optional<int> late = roster_->late(self, own_beat(), now);
  return late && *late != self ? concat("; the ranks wait for ", roster_->describe(*late, now)) : "";
}

void Watchdog::run(const std::stop_token& stop) {
  std::mutex idle;
  std::condition_variable_any wake;
  const milliseconds interval = interval_for(limit_);
  try {
    auto next = Clock::now();
    auto last = next;
    while (!stop.stop_requested()) {
      const auto now = Clock::now();
      if (now - last > limit_ / 2) {
        // This process itself was stopped, as a scheduler may do with all of them, and has heard nobody.
        const std::lock_guard lock(mutex_);
        roster_->excuse_all(now);
      }
      last = now;
      if (now >= next) {
        speak();
        next = now + interval;
      }
      listen();
      if (report_silence()) {
        break;
      }
      std::unique_lock lock(idle);
      wake.wait_for(lock, stop, std::min(interval, milliseconds{100}), [] { return false; });
    }
    fall_silent();
  } catch (const Error& problem) {
    on_silence_(concat("the watchdog can't reach the other ranks: ", problem.what()));
  }
}

void Watchdog::speak() {
  const Beat beat = own_beat();
  for (Peer& peer : peers_) {
    int sent = 1;
    check_mpi(MPI_Test(&peer.sending, &sent, MPI_STATUS_IGNORE), "MPI_Isend");
    if (sent != 0) {  // else it does not listen, which its own silence tells
      peer.outgoing = beat;
      check_mpi(MPI_Isend(&peer.outgoing, sizeof peer.outgoing, MPI_BYTE, peer.rank, kTag, messages_,
                          &peer.sending),
                "MPI_Isend");
    }
  }
}

void Watchdog::listen() {
  for (Peer& peer : peers_) {
    for (int received = 1; received != 0;) {
      if (peer.receiving == MPI_REQUEST_NULL) {
        check_mpi(MPI_Irecv(&peer.incoming, sizeof peer.incoming, MPI_BYTE, peer.rank, kTag, messages_,
                            &peer.receiving),
                  "MPI_Irecv");
      }
      check_mpi(MPI_Test(&peer.receiving, &received, MPI_STATUS_IGNORE), "MPI_Irecv");
      if (received != 0) {
        const std::lock_guard lock(mutex_);
        roster_->hear(peer.rank, peer.incoming, Clock::now());
      }
    }
  }
}

void Watchdog::fall_silent() {
  for (Peer& peer : peers_) {
    if (peer.receiving != MPI_REQUEST_NULL) {
      check_mpi(MPI_Cancel(&peer.receiving), "MPI_Cancel");
      check_mpi(MPI_Wait(&peer.receiving, MPI_STATUS_IGNORE), "MPI_Wait");
    }
  }
  // MPI reads what is still under way. But not for ever: a rank that stands still takes nothing.
  const auto until = Clock::now() + milliseconds{1000};
  for (Peer& peer : peers_) {
    for (int sent = 0; sent == 0 && Clock::now() < until;) {
      check_mpi(MPI_Test(&peer.sending, &sent, MPI_STATUS_IGNORE), "MPI_Isend");
    }
  }
}

bool Watchdog::report_silence() {
  std::string message;
  {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    const std::optional<int> silent = roster_->silent(limit_, now);
    if (!silent) {
      return false;
    }
    message = concat(roster_->describe(*silent, now),
                     ", stands still: its process was stopped, or its machine or link is down");
  }
  on_silence_(message);
  return true;
}

Beat Watchdog::own_beat() const {
  Beat beat = activity_.beat();
  beat.waits = communicator_.waits() ? 1 : 0;
  return beat;
}

}  // namespace slicereduce
