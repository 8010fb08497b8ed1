#pragma once

#include <cstring>
#include <string>

namespace slicereduce::testing {

/// As numbers stand in files.
template <typename T>
std::string little_endian(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

}  // namespace slicereduce::testing
