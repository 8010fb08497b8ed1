#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "core/lock_file.hpp"

namespace slicereduce {

/// Where a run's files lie. Only rank 0 writes there.
class RunDirectory {
 public:
  explicit RunDirectory(std::filesystem::path folder) : folder_(std::move(folder)) {}

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] std::filesystem::path checkpoints() const { return folder_ / "checkpoints"; }
  [[nodiscard]] std::filesystem::path config() const { return folder_ / "config.toml"; }
  [[nodiscard]] std::filesystem::path log() const { return folder_ / "slicereduce.log"; }
  [[nodiscard]] std::filesystem::path metrics() const { return folder_ / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path summary() const { return folder_ / "summary.json"; }

  /// Whether there was a run here.
  [[nodiscard]] bool has_run() const;
  /// Makes the folders. Throws Error(input) where that or writing there is not possible.
  void create() const;
  /// Keeps other runs out for as long as it is held. Throws Error(usage) naming the run that is there.
  [[nodiscard]] std::unique_ptr<LockFile> lock() const;
  void write_config(const std::string& text) const;
  void write_summary(const nlohmann::ordered_json& summary) const;
  /// Gives its path.
  std::filesystem::path write_trace(std::int64_t first_step, const std::string& text) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace slicereduce
