#pragma once

#include <cstdint>
#include <vector>

namespace slicereduce {

struct Range {
  std::int64_t first;
  std::int64_t size;
};

/// [0, count) in as few parts of at most `most` as there can be, as equal as they can be: a batch that is cut
/// leaves no single image for batch norm, where another way does not.
[[nodiscard]] inline std::vector<Range> even_parts(std::int64_t count, std::int64_t most) {
  const std::int64_t parts = (count + most - 1) / most;
  std::vector<Range> cut;
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t first = count * part / parts;
    cut.push_back({.first = first, .size = count * (part + 1) / parts - first});
  }
  return cut;
}

}  // namespace slicereduce
