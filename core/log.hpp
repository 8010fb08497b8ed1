#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

namespace slicereduce {

/// The operator's log: one line an event, `key=value` where there are numbers. Rank 0 speaks unless
/// the rank is the news. Copies share the sinks. spdlog stays behind it: its fmt and LibTorch's clash.
class Log {
 public:
  /// Lines at `info` and above go to standard error, prefixed with the rank where `rank` > 0.
  static Log to_stderr(int rank);
  static Log silent();

  /// From now on lines are also appended to `file`. Throws Error(io).
  void also_to(const std::filesystem::path& file);
  /// Keeps routine lines off the terminal, where a progress bar is drawn; the file keeps them.
  void terminal_only_warnings();

  void info(std::string_view line) const;
  void warn(std::string_view line) const;
  void error(std::string_view line) const;

 private:
  struct Sinks;
  explicit Log(std::shared_ptr<Sinks> sinks);
  std::shared_ptr<Sinks> sinks_;
};

}  // namespace slicereduce
