#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace slicereduce {

/// A file that is read. Every function may be called from several threads at once.
class InputFile {
 public:
  /// Throws Error(input) where there is no such file, or no way to read it, and Error(io) where another try
  /// may do. Never waits, as opening a pipe would.
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// In bytes, when it was opened.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Fills `into` with what the file has at `offset`. Throws Error(io) where that can't be read, or the file
  /// ends before.
  void read_at(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

/// The whole file. Throws as InputFile does, and Error(io) where it is larger than this machine's memory.
[[nodiscard]] std::vector<std::byte> read_whole(const std::filesystem::path& path);

}  // namespace slicereduce
