#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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

/// A rectangle whose edges may lie within pixels: pixel i of a line is what lies from i to i + 1.
struct FractionalBox {
  double top = 0;
  double left = 0;
  double height = 0;
  double width = 0;

  [[nodiscard]] static FractionalBox whole(Extent extent) {
    return {0, 0, static_cast<double>(extent.height), static_cast<double>(extent.width)};
  }
  [[nodiscard]] bool is_within(Extent extent) const {
    return top >= 0 && left >= 0 && height > 0 && width > 0 &&
           top + height <= static_cast<double>(extent.height) &&
           left + width <= static_cast<double>(extent.width);
  }
};

/// A decoded picture: the first height * width * channels of `pixels` are [height, width, channels], one byte
/// a value.
struct Image {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::vector<std::uint8_t> pixels;

  [[nodiscard]] Extent extent() const { return {height, width}; }
  /// Those of `pixels` that are the picture's.
  [[nodiscard]] std::span<std::uint8_t> values() {
    return std::span(pixels).first(static_cast<std::size_t>(height * width * channels));
  }
  /// What `pixels` hold is left open. They never become fewer: those that come back would be set to zero,
  /// picture after picture.
  void resize(Extent extent, std::int64_t new_channels) {
    height = extent.height;
    width = extent.width;
    channels = new_channels;
    if (const auto numel = static_cast<std::size_t>(height * width * channels); numel > pixels.size()) {
      pixels.resize(numel);
    }
  }
};

/// Pixels [height, width, channels] that someone else holds, lines `stride` bytes apart.
struct PixelView {
  const std::uint8_t* first = nullptr;
  Extent extent;
  std::int64_t channels = 0;
  std::int64_t stride = 0;

  [[nodiscard]] static PixelView of(const Image& image) {
    return {image.pixels.data(), image.extent(), image.channels, image.width * image.channels};
  }
  /// `box` must be within the extent.
  [[nodiscard]] PixelView cut(const CropBox& box) const {
    return {first + box.top * stride + box.left * channels, {box.height, box.width}, channels, stride};
  }
};

/// A part of a picture: `box` of `pixels`. They reach at most to the next whole pixel around it where the
/// picture was cropped, and further where it goes on.
struct Region {
  PixelView pixels;
  FractionalBox box;

  /// Of a picture that ends where `crop` does.
  [[nodiscard]] static Region cropped(const Image& image, const CropBox& crop) {
    return {PixelView::of(image).cut(crop), FractionalBox::whole({crop.height, crop.width})};
  }
};

}  // namespace slicereduce
