#pragma once

#include <cstdint>
#include <vector>

namespace slicereduce {

/// Height and width in pixels.
struct Extent {
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool operator==(const Extent&) const = default;
};

/// A rectangle of a picture, in pixels.
struct CropBox {
  std::int64_t top = 0;
  std::int64_t left = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool operator==(const CropBox&) const = default;

  [[nodiscard]] static CropBox whole(Extent extent) { return {0, 0, extent.height, extent.width}; }
  [[nodiscard]] bool is_within(Extent extent) const {
    return top >= 0 && left >= 0 && height > 0 && width > 0 && top + height <= extent.height &&
           left + width <= extent.width;
  }
};

/// A decoded picture: `pixels` is [height, width, channels], one byte a value.
struct Image {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::vector<std::uint8_t> pixels;

  [[nodiscard]] Extent extent() const { return {height, width}; }
  /// Keeps the memory that `pixels` has; what they hold is left open.
  void resize(Extent extent, std::int64_t new_channels) {
    height = extent.height;
    width = extent.width;
    channels = new_channels;
    pixels.resize(static_cast<std::size_t>(height * width * channels));
  }
};

}  // namespace slicereduce
