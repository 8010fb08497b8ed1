#pragma once

#include <cstdint>
#include <future>
#include <memory>
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

  /// Waits for the one before, and copies rank 0's `content`, which may change afterwards; the others' is not
  /// looked at. Throws Error(io) where the last failure was one too many, and whatever kept ranks from
  /// gathering what they owe.
  void take(Checkpoint content, OwnDebts debts);
  /// Collective, once all ranks have taken. Starts to write what was taken.
  void start(bool is_best);
  /// Waits until the one under way is written, or can't be.
  void wait() const;
  /// Waits until everything is written. Throws Error(io) where the last one could not be: whoever ends here
  /// would lose what it holds.
  void finish();

 private:
  void settle();
  /// Why it could not be written; empty where it was.
  [[nodiscard]] std::string save(const Checkpoint& content, bool is_best) const;
  [[nodiscard]] bool leads() const { return communicator_.rank() == 0; }

  struct Taken {
    Checkpoint content;
    OwnDebts debts;
  };

  CheckpointFolder folder_;
  std::int64_t most_failures_;
  Communicator& communicator_;
  Log log_;
  std::int64_t failures_ = 0;  ///< in a row
  std::string failure_;        ///< of the last one; empty where it was written
  std::shared_ptr<Taken> taken_;
  std::future<std::string> under_way_;  ///< why it failed; the last member: it uses what is above
};

}  // namespace slicereduce
