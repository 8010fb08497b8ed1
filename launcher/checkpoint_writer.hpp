#pragma once

#include <cstdint>
#include <future>
#include <string>

#include "core/log.hpp"
#include "launcher/checkpoint.hpp"

namespace slicereduce {

/// Writes a run's checkpoints while it trains on, one at a time.
class CheckpointWriter {
 public:
  /// What can't be written is told to `log`, and only `most_failures` of them in a row are an error.
  CheckpointWriter(CheckpointFolder folder, std::int64_t most_failures, Log log);
  /// Waits for the one under way.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  CheckpointWriter(CheckpointWriter&&) = delete;
  CheckpointWriter& operator=(CheckpointWriter&&) = delete;

  /// Waits for the one before. `content` may change as soon as this has returned, but for what is owed, which
  /// has to be the caller's last reference. Throws Error(io) where the last failure was one too many.
  void write(Checkpoint content, bool is_best);
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
  Log log_;
  std::int64_t failures_ = 0;    ///< in a row
  std::string failure_;          ///< of the last one; empty where it was written
  std::future<void> under_way_;  ///< the last member: it uses what is above
};

}  // namespace slicereduce
