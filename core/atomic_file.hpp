#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

namespace slicereduce {

/// Writes `pieces`, one after the other, beside `path`, syncs, renames over `path` and syncs the
/// folder: readers see the old file or the new one, never a part. Throws Error(io); `path` is then as
/// it was.
void write_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces);
void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// Throws Error(input) where something else than a file has that name: what is written there would go
/// somewhere else (a link), or wait for ever (a pipe).
void require_plain_file_or_none(const std::filesystem::path& path);

/// The whole file. Throws Error(input) where it can't be read or is none, and Error(io) where it is larger
/// than this machine's memory.
[[nodiscard]] std::vector<std::byte> read_whole(const std::filesystem::path& path);

}  // namespace slicereduce
