#include "launcher/mode.hpp"

#include <sstream>

#include "core/choice.hpp"

namespace slicereduce {

namespace {

/// read(text, value) says whether `text` is a value.
template <typename T, typename Read>
EpochSchedule<T> parse_schedule(const std::string& text, const char* option, const char* form,
                                const Read& read) {
  EpochSchedule<T> schedule;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    std::istringstream fields(part);
    std::int64_t epoch = -1;
    char colon = 0;
    std::string rest;
    T value{};
    const bool is_entry = static_cast<bool>(fields >> epoch >> colon >> rest) && colon == ':' &&
                          (fields >> std::ws).eof() && epoch >= 0 && read(rest, value);
    if (!is_entry || (!schedule.empty() && epoch <= schedule.back().first)) {
      throw Error(ErrorKind::usage, concat("'", part, "': expected ", form, " (", option, ")"));
    }
    schedule.emplace_back(epoch, value);
  }
  return schedule;
}

bool read_ratio(const std::string& text, double& ratio) {
  std::istringstream number(text);
  return static_cast<bool>(number >> ratio) && number.eof() && ratio > 0 && ratio <= 1;
}

bool read_size(const std::string& text, std::int64_t& size) {
  constexpr std::int64_t kMost = 4096;
  std::istringstream number(text);
  return static_cast<bool>(number >> size) && number.eof() && size >= 1 && size <= kMost;
}

bool read_mode(const std::string& text, Mode& mode) {
  for (const Mode known : kModes) {
    if (text == to_string(known)) {
      mode = known;
      return true;
    }
  }
  return false;
}

}  // namespace

Mode parse_mode(const std::string& name) {
  return parse_choice<Mode>(name, "--mode",
                            {{"compact", Mode::compact},
                             {"feedback", Mode::feedback},
                             {"approximate", Mode::approximate},
                             {"dense", Mode::dense}});
}

std::string to_string(Mode mode) {
  switch (mode) {
    case Mode::compact:
      return "compact";
    case Mode::feedback:
      return "feedback";
    case Mode::approximate:
      return "approximate";
    case Mode::dense:
      break;
  }
  return "dense";
}

EpochSchedule<double> parse_ratio_schedule(const std::string& text) {
  return parse_schedule<double>(text, "--ratio-schedule",
                                "EPOCH:RATIO with rising epochs and 0 < RATIO <= 1, as in 0:0.5,80:1.0",
                                read_ratio);
}

EpochSchedule<std::int64_t> parse_size_schedule(const std::string& text) {
  return parse_schedule<std::int64_t>(
      text, "--size-schedule", "EPOCH:SIDE with rising epochs and SIDE from 1 to 4096, as in 0:128,6:160",
      read_size);
}

EpochSchedule<Mode> parse_mode_schedule(const std::string& text) {
  return parse_schedule<Mode>(
      text, "--mode-schedule",
      "EPOCH:MODE with rising epochs and MODE one of compact, feedback, approximate, dense, as in "
      "0:compact,80:dense",
      read_mode);
}

}  // namespace slicereduce
