#include "core/units.hpp"

#include <array>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr std::array<const char*, 6> kPrefixes{"", "k", "M", "G", "T", "P"};

/// "1.5 M" with `unit` after the prefix; whole numbers where there is no prefix.
std::string scaled(double value, const char* unit) {
  std::size_t prefix = 0;
  // What would round to 1000.0 belongs to the next unit already.
  while (std::abs(value) >= (prefix == 0 ? 999.5 : 999.95) && prefix + 1 < kPrefixes.size()) {
    value /= 1000;
    ++prefix;
  }
  std::ostringstream out;
  out << std::fixed << std::setprecision(prefix == 0 ? 0 : 1) << value;
  if (prefix > 0 || *unit != '\0') {
    out << ' ' << kPrefixes.at(prefix) << unit;
  }
  return out.str();
}

std::string two_digits(long long number) { return concat(number < 10 ? "0" : "", number); }

}  // namespace

std::string format_bytes(double bytes) { return std::isfinite(bytes) ? scaled(bytes, "B") : "?"; }

std::string format_count(double count) { return std::isfinite(count) ? scaled(count, "") : "?"; }

std::string format_duration(double seconds) {
  constexpr double kLongest = 1e12;  // beyond it a duration says nothing, and llround would overflow
  if (!std::isfinite(seconds) || seconds < 0 || seconds > kLongest) {
    return "?";
  }
  const long long whole = std::llround(seconds);
  const long long hours = whole / 3600;
  const long long minutes = whole / 60 % 60;
  return hours > 0 ? concat(hours, ':', two_digits(minutes), ':', two_digits(whole % 60))
                   : concat(minutes, ':', two_digits(whole % 60));
}

}  // namespace slicereduce
