#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.hpp"

namespace slicereduce {

/// What one AllReduce took on this rank.
struct AllreduceTimes {
  std::chrono::steady_clock::time_point started;
  std::chrono::steady_clock::time_point finished;
  std::int64_t bytes = 0;
};

/// What happened between two wait_all().
struct AllreduceRound {
  /// False where the ranks submitted different values for agreement: nothing submitted after that was
  /// started, on any rank.
  bool agreed = true;
  bool stop_requested = false;  ///< by any rank, with an agreement of this round; the same on all ranks
  std::vector<AllreduceTimes> allreduces;  ///< in the order of submission

  [[nodiscard]] std::int64_t bytes() const;
  /// The time in which at least one AllReduce was under way.
  [[nodiscard]] std::chrono::steady_clock::duration busy() const;
};

/// A thread that keeps AllReduces moving while others compute. MPI moves a collective only inside
/// its own calls: posted by a computing thread, 1 to 14 % of a reduction was hidden behind it, with
/// this thread 59 to 91 % (2 hosts, 1 Gbit/s, Open MPI 4.1.4). It sleeps between its rounds, since
/// polling without a pause took a core from the computation.
///
/// Uses the communicator's start_ calls, which nobody else may use meanwhile. submit() and the waits are
/// for one thread at a time. After a failure the ranks are no longer in step: every later wait_all() throws
/// it again.
class AllreduceThread {
 public:
  /// `timeout` bounds each collective, from its start on this rank: it includes waiting for the slowest rank.
  AllreduceThread(Communicator& communicator, std::chrono::milliseconds timeout);
  /// Drops what is under way; see Pending.
  ~AllreduceThread();
  AllreduceThread(const AllreduceThread&) = delete;
  AllreduceThread& operator=(const AllreduceThread&) = delete;
  AllreduceThread(AllreduceThread&&) = delete;
  AllreduceThread& operator=(AllreduceThread&&) = delete;

  /// Collective. What is submitted after this starts only once all ranks are known to have submitted
  /// the same `value`; where they have not, it is dropped. Tells all ranks whether one of them wants to
  /// stop, too. 24 bytes, not counted in the round.
  void submit_agreement(std::uint64_t value, bool wants_stop = false);

  /// Collective. Starts summing `buffer` in place over all ranks, in the order of submission, and
  /// returns at once. The buffer must stay until wait_all() has returned.
  void submit(WireBuffer buffer);

  /// Whether the AllReduce that was submitted as number `index` of this round, from 0, is done. Not where it
  /// was dropped.
  [[nodiscard]] bool finished(std::size_t index);
  /// The same, after blocking until it is done or dropped. Throws as wait_all() does.
  [[nodiscard]] bool wait_for(std::size_t index) { return wait_for_any({&index, 1}); }
  /// The same for any of several.
  [[nodiscard]] bool wait_for_any(std::span<const std::size_t> indices);

  /// Blocks until all that was submitted is done or dropped, and ends the round. Throws what a collective
  /// threw, or Error(mpi) naming the one that is not done after the timeout.
  [[nodiscard]] AllreduceRound wait_all();

 private:
  struct Item;
  using Items = std::deque<std::unique_ptr<Item>>;

  [[nodiscard]] bool is_recorded(std::size_t index) const;
  void enqueue(std::unique_ptr<Item> item);
  void run(const std::stop_token& stop);
  bool advance(Items& waiting, Items& under_way);
  bool start_waiting(Items& waiting, Items& under_way);
  bool collect_done(Items& waiting, Items& under_way);
  void record(const Item& item);
  void drop(Items& waiting);
  void fail(std::exception_ptr failure);

  Communicator& communicator_;
  const std::chrono::milliseconds timeout_;

  std::mutex mutex_;
  std::condition_variable_any work_;
  std::condition_variable done_;
  Items inbox_;
  AllreduceRound round_;
  std::size_t submitted_ = 0;  ///< AllReduces of this round
  std::size_t unfinished_ = 0;
  std::exception_ptr failure_;

  std::jthread thread_;  ///< the last member: it uses all others
};

}  // namespace slicereduce
