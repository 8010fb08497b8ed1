#pragma once

#include <sstream>
#include <string>

namespace slicereduce {

/// Concatenates anything that streams: g++ 12 has no std::format, and fmt is kept out of headers.
template <typename... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace slicereduce
