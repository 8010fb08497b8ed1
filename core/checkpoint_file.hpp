#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/state_dict.hpp"

namespace slicereduce {

/// What a checkpoint file holds.
struct CheckpointContent {
  /// For instance weights, momentum, statistics. Names are unique.
  std::vector<std::pair<std::string, StateDict>> sections;
  /// JSON, UTF-8: what isn't a tensor (options, step, versions).
  std::string manifest;

  /// Throws Error(input) where there is no such section; `where` names the file.
  [[nodiscard]] const StateDict& section(std::string_view name, std::string_view where) const;
};

/// Writes `content` atomically: readers see the old file or the whole new one. The file is a payload,
/// which is an archive that torch.load reads as {"manifest": str, "sections": {section: {name: tensor}}},
/// and a trailer of 40 bytes that holds the payload's length, its XXH3-128 and the trailer's own XXH3-64.
/// The same content gives the same bytes. Throws Error(io).
void write_checkpoint(const std::filesystem::path& path, const CheckpointContent& content);

/// Everything is checked before anything is read: a file that was cut short or in which any byte differs
/// gives Error(input) naming the file and which of the two it is, as does a file of another kind. Tensors
/// come back in host memory.
[[nodiscard]] CheckpointContent read_checkpoint(const std::filesystem::path& path);

}  // namespace slicereduce
