#pragma once

#include <cstdint>
#include <future>
#include <string>

#include "comm/communicator.hpp"
#include "core/log.hpp"
#include "launcher/checkpoint.hpp"
#include "launcher/debts.hpp"

namespace slicereduce {

/// Writes a run's checkpoints while it trains on, one at a time. Every rank has one: rank 0's writes, and all
/// of them hand it what their rank owes.
class CheckpointWriter {
 public:
  /// `communicator` must outlive this, and nobody else may use it: it is for a thread of its own. What can't
  /// be written is told to `log`, and only `most_failures` of them in a row are an error.
  CheckpointWriter(CheckpointFolder folder, std::int64_t most_failures, Communicator& communicator, Log log);
  /// Waits for the one under way.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  CheckpointWriter(CheckpointWriter&&) = delete;
  CheckpointWriter& operator=(CheckpointWriter&&) = delete;

  /// Waits for the one before. Throws Error(io) where its failure was one too many.
  void make_room();
  /// Collective, after all ranks' make_room(). What rank 0's `content` refers to may change as soon as this
  /// has returned; the others' is not looked at. What is owed is added to it.
  void write(Checkpoint content, OwnDebts debts, bool is_best);
  /// Waits until the one under way is written, or can't be.
  void wait() const;
  /// Waits until everything is written. Throws Error(io) where the last one could not be: whoever ends here
  /// would lose what it holds.
  void finish();

 private:
  void settle();
  void save(const Checkpoint& content, bool is_best) const;

  CheckpointFolder folder_;
  std::int64_t most_failures_;
  Communicator& communicator_;
  Log log_;
  std::int64_t failures_ = 0;    ///< in a row
  std::string failure_;          ///< of the last one; empty where it was written
  std::future<void> under_way_;  ///< the last member: it uses what is above
};

}  // namespace slicereduce
