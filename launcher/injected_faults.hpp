#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/log.hpp"
#include "launcher/activity.hpp"

namespace slicereduce {

enum class FaultKind {
  kill,             ///< as kill -9, or the kernel out of memory, would
  stop,             ///< as SIGSTOP, or a machine that freezes
  exit,             ///< without a word to anybody
  error,            ///< an exception on this rank alone
  slow,             ///< sleeps
  nan_loss,         ///< its images are no numbers
  corrupt_weights,  ///< a bit of a weight flips
};

/// "kill@rank1:step7".
struct Fault {
  FaultKind kind = FaultKind::kill;
  int rank = 0;
  Phase phase = Phase::training;  ///< on entering which it strikes
  std::int64_t step = 0;          ///< of the training: at which, or for `slow` from which on
  std::chrono::milliseconds delay{0};
  bool announced = false;
};

/// "FAULT@rankN:PLACE,...". FAULT is kill, stop, exit, error, nan-loss, corrupt-weights or slow:MSms; PLACE
/// is start, stepN, checkpoint or evaluation. Losses and weights are of a step; `slow` without PLACE sleeps
/// before every step. Throws Error(usage) that names the part.
[[nodiscard]] std::vector<Fault> parse_faults(const std::string& text);

/// What is to break on this rank, on purpose: for tests of what a run does then.
class InjectedFaults {
 public:
  /// None.
  InjectedFaults() = default;
  /// Those of `rank` alone. Each is told to `log` before it strikes for the first time.
  InjectedFaults(const std::string& text, int rank, Log log);

  /// When this rank has entered what `beat` says. Sleeps, throws Error(invariant), or does not return.
  void strike(const Beat& beat);
  /// Whether this rank's images, or its weights, are to be spoilt in `step`.
  [[nodiscard]] bool spoils_images(std::int64_t step) const { return has(FaultKind::nan_loss, step); }
  [[nodiscard]] bool spoils_weights(std::int64_t step) const { return has(FaultKind::corrupt_weights, step); }

 private:
  [[nodiscard]] bool has(FaultKind kind, std::int64_t step) const;

  std::vector<Fault> faults_;
  Log log_ = Log::silent();
};

}  // namespace slicereduce
