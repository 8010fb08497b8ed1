#pragma once

namespace slicereduce {

/// A part of this thread's work by its name, as long as this lives: a profiler of CUDA's (Nsight Systems)
/// draws it above what the part launches. In a build without CUDA, or without a profiler, it costs nothing.
class ProfileRange {
 public:
  explicit ProfileRange(const char* name);
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;
  ProfileRange(ProfileRange&&) = delete;
  ProfileRange& operator=(ProfileRange&&) = delete;
};

}  // namespace slicereduce
