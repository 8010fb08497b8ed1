#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace slicereduce {

/// metrics.jsonl: one JSON object a line, in the order of the run, each whole once write() returns.
class MetricsLog {
 public:
  /// Appends to `path`, which is made where it is missing. A last line that a crash left unfinished is
  /// taken off. Throws Error(io), and Error(input) where an earlier line isn't a JSON object.
  explicit MetricsLog(const std::filesystem::path& path);
  /// For a run that goes on from `last_step`: also takes off everything from the first line on whose
  /// "step" is beyond it, or is `last_step` in a line that has the key `made_again`, if that is not empty.
  /// Lines without "step" stay with those before them.
  [[nodiscard]] static MetricsLog resume(const std::filesystem::path& path, std::int64_t last_step,
                                         const std::string& made_again = {});

  /// Numbers that aren't finite become null, bytes that aren't UTF-8 a replacement character. Throws
  /// Error(io) where the line can't be written (a full disk); the next one may be again.
  void write(const nlohmann::ordered_json& line);

 private:
  MetricsLog(const std::filesystem::path& path, std::int64_t last_step, const std::string& made_again);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace slicereduce
