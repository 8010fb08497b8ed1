#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace slicereduce {

/// A part of this thread's work by its name, as long as this lives: for a Timeline, and for a profiler of
/// CUDA's (Nsight Systems), which draws it above what the part launches. Without either it costs nothing to
/// speak of.
class ProfileRange {
 public:
  explicit ProfileRange(std::string name);
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;
  ProfileRange(ProfileRange&&) = delete;
  ProfileRange& operator=(ProfileRange&&) = delete;

 private:
  std::string name_;
  std::optional<std::chrono::steady_clock::time_point> began_;  ///< where there was a timeline
};

/// Something that is under way beside what threads do, in a row of its own, as long as this lives: on
/// whatever threads that begins and ends. Rows hold one at a time.
class ProfileSpan {
 public:
  /// `detail` is told where the span is looked at closely, and asked for where there is a timeline.
  ProfileSpan(std::string name, std::string row, const std::function<std::string()>& detail);
  ~ProfileSpan();
  ProfileSpan(const ProfileSpan&) = delete;
  ProfileSpan& operator=(const ProfileSpan&) = delete;
  ProfileSpan(ProfileSpan&&) = delete;
  ProfileSpan& operator=(ProfileSpan&&) = delete;

 private:
  std::string name_;
  std::string row_;
  std::string detail_;
  std::uint64_t nvtx_range_;
  std::optional<std::chrono::steady_clock::time_point> began_;  ///< where there was a timeline
};

/// Parts of this thread's work that are told at their ends, one behind the other: backward does not say what
/// it begins, but what it has a gradient of. A profiler of CUDA's has a mark at each end.
class ProfileSequence {
 public:
  void begin();
  /// What began with the last begin(), or with the last part's end.
  void end_part(const std::string& name);

 private:
  std::optional<std::chrono::steady_clock::time_point> began_;
};

}  // namespace slicereduce
