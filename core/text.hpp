#pragma once

#include <span>
#include <sstream>
#include <string>
#include <string_view>

namespace slicereduce {

/// Concatenates anything that streams: g++ 12 has no std::format, and fmt is kept out of headers.
template <typename... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// A name from an untrusted file, fit for a terminal: short, and without control characters.
[[nodiscard]] std::string printable(std::string_view text);

/// The one of `names` that may be meant by a misspelt `word`: that needs the fewest letters inserted, left
/// out or replaced, or neighbours swapped, a third of the word's at most. Empty where there is none.
[[nodiscard]] std::string nearest(std::string_view word, std::span<const std::string> names);

}  // namespace slicereduce
