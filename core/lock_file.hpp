#pragma once

#include <filesystem>
#include <string>

namespace slicereduce {

/// Keeps others out as long as it lives. The kernel forgets it with the process, however that ends, so a dead
/// holder leaves no lock behind; the file itself stays, and says who held it last.
class LockFile {
 public:
  /// Makes `path` where it is missing. Throws Error(usage) where another process, or another LockFile, holds
  /// it, saying who; `what` is what is locked and `advice` what to do. Throws Error(input) where it can't be
  /// made.
  LockFile(const std::filesystem::path& path, const std::string& what, const std::string& advice);
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;
  LockFile(LockFile&&) = delete;
  LockFile& operator=(LockFile&&) = delete;

 private:
  int file_;
};

}  // namespace slicereduce
