#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace slicereduce {

/// What a run knows of itself after a step.
struct ProgressState {
  std::int64_t step = 0;  ///< steps done, also those before a resume
  std::int64_t total_steps = 0;
  double loss = 0;
  double images_per_s = 0;      ///< of all ranks
  double wire_bytes_per_s = 0;  ///< handed to AllReduce by a rank
  double exposed = 0;           ///< share of the time in which there was nothing to do but wait for it
  std::optional<double> top1 = std::nullopt;  ///< percent, of the last evaluation
};

/// One line of printable ASCII, at most `width` characters: a bar, then as many of step, loss, ETA, top-1,
/// images/s, wire and exposed as fit, in the order of their worth. `remaining_s` empty: no ETA yet.
[[nodiscard]] std::string progress_line(const ProgressState& state, std::optional<double> remaining_s,
                                        int width);

/// A line on a terminal, redrawn in place. On anything else it draws nothing: the log's lines do there. Lines
/// of others come the same way, or they could be on the screen before clear() is.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  /// `descriptor` is not owned; standard error is 2.
  explicit Progress(int descriptor);
  /// On a pipe that somebody else, as mpirun, copies to a terminal, which is as wide as `terminal`.
  Progress(int pipe, int terminal);
  /// Ends the line where one is drawn, so that the next message begins on its own.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Whether there is a terminal to draw on.
  [[nodiscard]] bool draws() const { return draws_; }
  /// Draws at most 10 times a second, and always at the last step. `now` is for tests.
  void update(const ProgressState& state, Clock::time_point now = Clock::now());
  /// Erases the line, before something else is written to the terminal; the next update draws it again.
  void clear();

 private:
  struct Start {
    std::int64_t step;
    Clock::time_point time;
  };
  void write(const std::string& text) const;
  [[nodiscard]] std::optional<double> remaining_s(const ProgressState& state, Clock::time_point now) const;

  int descriptor_;
  int terminal_;
  bool draws_;
  bool on_screen_ = false;
  std::optional<Start> start_;
  std::optional<Clock::time_point> drawn_;
};

}  // namespace slicereduce
