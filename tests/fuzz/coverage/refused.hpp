#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>

#include "core/error.hpp"

namespace slicereduce::fuzz {

/// A reader either reads, or refuses by an Error: anything else it throws ends the fuzzer.
template <typename Read>
int read_or_refuse(Read read) {
  try {
    read();
  } catch (const Error&) {
    return 0;
  }
  return 0;
}

/// Of this process alone, in TMPDIR.
inline std::filesystem::path scratch_folder() {
  const auto folder = std::filesystem::temp_directory_path() / std::to_string(::getpid());
  std::filesystem::create_directories(folder);
  return folder;
}

inline void put(const std::filesystem::path& path, const std::uint8_t* bytes, std::size_t count) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  std::fwrite(bytes, 1, count, file);
  std::fclose(file);
}

}  // namespace slicereduce::fuzz
