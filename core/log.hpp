#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

namespace slicereduce {

/// The operator's log: one line an event, `key=value` where there are numbers. Rank 0 speaks unless
/// the rank is the news. Copies share the sinks. spdlog stays behind it: its fmt and LibTorch's clash.
class Log {
 public:
  /// Lines go to standard error, prefixed with the rank where `rank` > 0.
  static Log to_stderr(int rank);
  static Log silent();

  /// From now on lines are also appended to `file`. Throws Error(io).
  void also_to(const std::filesystem::path& file);
  /// Keeps details off the terminal, where a progress bar shows them; the file keeps them.
  void hide_details();

  /// What repeats, step by step.
  void detail(std::string_view line) const;
  void info(std::string_view line) const;
  void warn(std::string_view line) const;
  void error(std::string_view line) const;

 private:
  struct Sinks;
  explicit Log(std::shared_ptr<Sinks> sinks);
  std::shared_ptr<Sinks> sinks_;
};

}  // namespace slicereduce
