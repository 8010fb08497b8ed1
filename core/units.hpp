#pragma once

#include <string>

namespace slicereduce {

/// Three digits at most before the point, decimal units, as links and disks are sold: "512 B", "1.5 MB".
[[nodiscard]] std::string format_bytes(double bytes);
/// "950", "1.2 k", "11.7 M".
[[nodiscard]] std::string format_count(double count);
/// Rounded to seconds: "0:05", "1:05", "2:03:04". "?" for what isn't finite or is negative.
[[nodiscard]] std::string format_duration(double seconds);

}  // namespace slicereduce
