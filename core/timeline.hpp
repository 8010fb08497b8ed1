#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace slicereduce {

/// Something that took time, by the clock of this process.
struct TimelineEvent {
  std::string name;
  /// What it is drawn in: rows are of a thread, or of something beside threads that is one thing at a time.
  std::string row;
  std::chrono::steady_clock::time_point began;
  std::chrono::steady_clock::time_point ended;
  std::string detail;  ///< told where it is looked at closely; may be empty
};

/// Records what this process does as long as it lives: what its parts tell by ProfileRange, ProfileSequence
/// and record(). A process has one at a time, as it has one profiler: parts need not be handed it. From any
/// thread.
class Timeline {
 public:
  /// Throws Error(invariant) where there is another.
  Timeline();
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;
  Timeline(Timeline&&) = delete;
  Timeline& operator=(Timeline&&) = delete;

  /// What was recorded since the last call, in the order of ends.
  [[nodiscard]] std::vector<TimelineEvent> take();

  /// Whether there is one: else what it would be told need not be put together.
  [[nodiscard]] static bool records() noexcept;
  /// Forgotten where there is none, or no longer.
  static void record(TimelineEvent event);

 private:
  std::vector<TimelineEvent> events_;
};

/// Names the calling thread's row from now on, as "loader 0". Threads without a name have a row each, too.
void name_this_thread(std::string name);
[[nodiscard]] const std::string& name_of_this_thread();

}  // namespace slicereduce
