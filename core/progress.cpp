#include "core/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iomanip>
#include <sstream>

#include "core/text.hpp"
#include "core/units.hpp"

namespace slicereduce {

namespace {

constexpr int kShortestBar = 8;
constexpr int kLongestBar = 42;
constexpr auto kShortestPause = std::chrono::milliseconds(100);

double fraction_of(const ProgressState& state) {
  if (state.total_steps <= 0) {
    return 0;
  }
  return std::clamp(static_cast<double>(state.step) / static_cast<double>(state.total_steps), 0.0, 1.0);
}

/// "[=====>    ]", `width` characters in all.
std::string bar(double fraction, int width) {
  const auto inside = static_cast<std::size_t>(width - 2);
  const auto filled = static_cast<std::size_t>(fraction * static_cast<double>(inside));
  std::string text(filled, '=');
  if (filled < inside) {
    text += '>';
  }
  text.resize(inside, ' ');
  return concat('[', text, ']');
}

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

/// Columns that are left. Once something did not fit, nothing of less worth is shown in its place.
class Room {
 public:
  explicit Room(int columns) : left_(std::max(columns, 0)) {}

  bool take(std::size_t columns) {
    is_full_ = is_full_ || columns > static_cast<std::size_t>(left_);
    left_ -= is_full_ ? 0 : static_cast<int>(columns);
    return !is_full_;
  }
  [[nodiscard]] int left() const { return left_; }

 private:
  int left_;
  bool is_full_ = false;
};

int width_of(int descriptor) {
  winsize size{};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string progress_line(const ProgressState& state, std::optional<double> remaining_s, int width) {
  const double fraction = fraction_of(state);
  const std::string percent = concat(std::setw(3), static_cast<int>(fraction * 100), '%');
  Room room(width - static_cast<int>(percent.size()));
  std::string text;
  const auto show = [&](const std::string& field) { text += room.take(field.size()) ? field : ""; };
  show(concat("  ", state.step, '/', state.total_steps));
  show(concat("  loss ", fixed(state.loss, 4)));
  show(concat("  ETA ", remaining_s ? format_duration(*remaining_s) : "?"));
  const bool has_bar = room.take(1 + kShortestBar);
  show(state.top1 ? concat("  top-1 ", fixed(*state.top1, 1), '%') : "");
  show(concat("  ", format_count(state.images_per_s), " images/s"));
  show(concat("  wire ", format_bytes(state.wire_bytes_per_s), "/s"));
  show(concat("  exposed ", fixed(100 * state.exposed, 0), '%'));
  const int bar_width = std::min(kShortestBar + room.left(), kLongestBar);
  return concat(percent, has_bar ? concat(' ', bar(fraction, bar_width)) : "", text)
      .substr(0, static_cast<std::size_t>(std::max(width, 0)));
}

Progress::Progress(int descriptor)
    : descriptor_(descriptor), terminal_(descriptor), draws_(::isatty(descriptor) == 1) {}

Progress::Progress(int pipe, int terminal) : descriptor_(pipe), terminal_(terminal), draws_(true) {}

Progress::~Progress() {
  if (on_screen_) {
    write("\n");
  }
}

void Progress::update(const ProgressState& state, Clock::time_point now) {
  if (!draws_) {
    return;
  }
  if (!start_) {
    start_ = Start{state.step, now};
  }
  const bool is_last = state.step >= state.total_steps;
  if (!is_last && drawn_ && now - *drawn_ < kShortestPause) {
    return;
  }
  drawn_ = now;
  on_screen_ = true;
  // The last column stays free: some terminals wrap as soon as it is written.
  write(concat("\r\x1b[K", progress_line(state, remaining_s(state, now), width_of(terminal_) - 1)));
}

void Progress::clear() {
  if (on_screen_) {
    write("\r\x1b[K");
    on_screen_ = false;
  }
}

// What can't be drawn is not worth a run: a terminal that went away gives no error.
void Progress::write(const std::string& text) const {
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return;
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::optional<double> Progress::remaining_s(const ProgressState& state, Clock::time_point now) const {
  const auto steps = state.step - start_->step;
  if (steps <= 0) {
    return std::nullopt;
  }
  const double elapsed_s = std::chrono::duration<double>(now - start_->time).count();
  return elapsed_s / static_cast<double>(steps) * static_cast<double>(state.total_steps - state.step);
}

}  // namespace slicereduce
