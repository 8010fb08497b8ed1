#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace slicereduce {

/// A file that is written beside `path` and then takes its place: readers see the old file or the new one,
/// never a part. Whatever throws Error(io) leaves `path` as it was, and nothing beside it.
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
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  std::string beside_;
  int descriptor_ = -1;
  bool committed_ = false;
};

void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// Makes `path` a second name for the file `existing`, or its copy where the file system has no such names.
/// Throws Error(io); `path` is then as it was.
void link_atomically(const std::filesystem::path& existing, const std::filesystem::path& path);

/// Throws Error(input) where something else than a file has that name: what is written there would go
/// somewhere else (a link), or wait for ever (a pipe).
void require_plain_file_or_none(const std::filesystem::path& path);

/// The whole file. Throws Error(input) where it can't be read or is none, and Error(io) where it is larger
/// than this machine's memory.
[[nodiscard]] std::vector<std::byte> read_whole(const std::filesystem::path& path);

}  // namespace slicereduce
