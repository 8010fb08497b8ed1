#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/state_dict.hpp"

namespace slicereduce {

class TorchArchive;

/// What a checkpoint file holds.
struct CheckpointContent {
  /// For instance weights, momentum, statistics. Names are unique.
  std::vector<std::pair<std::string, StateDict>> sections;
  /// JSON, UTF-8: what isn't a tensor (options, step, versions).
  std::string manifest;
};

/// Writes `content` atomically: readers see the old file or the whole new one. The file is a payload,
/// which is an archive that torch.load reads as {"manifest": str, "sections": {section: {name: tensor}}},
/// and a trailer of 40 bytes that holds the payload's length, its XXH3-128 and the trailer's own XXH3-64.
/// The same content gives the same bytes. Throws Error(io).
void write_checkpoint(const std::filesystem::path& path, const CheckpointContent& content);

/// A file that write_checkpoint has written. It holds no tensors: those that are asked for are read then.
class CheckpointReader {
 public:
  /// Everything is checked before anything is read: a file that was cut short or in which any byte differs
  /// gives Error(input) naming the file and which of the two it is, as does a file of another kind.
  explicit CheckpointReader(const std::filesystem::path& path);
  ~CheckpointReader();
  CheckpointReader(const CheckpointReader&) = delete;
  CheckpointReader& operator=(const CheckpointReader&) = delete;
  CheckpointReader(CheckpointReader&&) = delete;
  CheckpointReader& operator=(CheckpointReader&&) = delete;

  [[nodiscard]] const std::string& manifest() const { return manifest_; }
  /// A section's tensors, or those whose names are `wanted`, in host memory. Throws Error(input) where there
  /// is no such section.
  [[nodiscard]] StateDict load(std::string_view section,
                               const std::function<bool(std::string_view)>& wanted = {});

 private:
  std::filesystem::path path_;
  std::unique_ptr<TorchArchive> archive_;
  std::string manifest_;
};

}  // namespace slicereduce
