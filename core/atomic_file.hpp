#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace slicereduce {

/// A file that is written beside `path` and then takes its place: readers see the old file or the new one,
/// never a part. Whatever throws Error(io) leaves `path` as it was, and nothing beside it. A large file does
/// not go through the page cache, where the file system offers that: nobody reads a checkpoint soon, but
/// training reads its images from there.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  /// Removes what was written, if commit() was not reached.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  /// Syncs, renames over `path` and syncs the folder.
  void commit();

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };

  void bypass_cache(bool bypass);
  void write_out(std::span<const std::byte> bytes);
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  std::string beside_;
  int descriptor_ = -1;
  bool committed_ = false;
  bool can_bypass_ = true;
  bool bypasses_cache_ = false;
  std::unique_ptr<std::byte, Free> staged_;  ///< what is not written out yet
  std::size_t staged_bytes_ = 0;
};

void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// Makes `path` a second name for the file `existing`, or its copy where the file system has no such names.
/// Throws Error; `path` is then as it was.
void link_atomically(const std::filesystem::path& existing, const std::filesystem::path& path);

/// Throws Error(input) where something else than a file has that name: what is written there would go
/// somewhere else (a link), or wait for ever (a pipe).
void require_plain_file_or_none(const std::filesystem::path& path);

}  // namespace slicereduce
