#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace slicereduce {

/// What sampling leaves out of a step.
enum class Mode {
  compact,      ///< channels of the network: arithmetic, memory and traffic
  feedback,     ///< slices of the gradient: traffic alone; what is not sent waits for its turn
  approximate,  ///< terms of each product by itself: arithmetic alone
  dense,        ///< nothing
};

/// Throws Error(usage) for another name.
[[nodiscard]] Mode parse_mode(const std::string& name);
[[nodiscard]] std::string to_string(Mode mode);

inline constexpr std::array kModes{Mode::compact, Mode::feedback, Mode::approximate, Mode::dense};

/// Something that changes with the epochs: from which epoch on, which value; rising.
template <typename T>
using EpochSchedule = std::vector<std::pair<std::int64_t, T>>;

/// "0:0.5,80:1.0" to {{0, 0.5}, {80, 1.0}}. Throws Error(usage) naming what is wrong with it.
[[nodiscard]] EpochSchedule<double> parse_ratio_schedule(const std::string& text);
/// The same for image sides: "0:128,6:160".
[[nodiscard]] EpochSchedule<std::int64_t> parse_size_schedule(const std::string& text);
/// The same for "0:compact,80:feedback".
[[nodiscard]] EpochSchedule<Mode> parse_mode_schedule(const std::string& text);

/// The value in force at `epoch`; `before` the first entry.
template <typename T>
[[nodiscard]] T value_at(const EpochSchedule<T>& schedule, std::int64_t epoch, T before) {
  for (const auto& [from, value] : schedule) {
    if (epoch >= from) {
      before = value;
    }
  }
  return before;
}

}  // namespace slicereduce
