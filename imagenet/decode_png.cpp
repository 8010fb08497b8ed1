#include "imagenet/decode_png.hpp"

#include <png.h>

#include <algorithm>
#include <cstdint>

#include "imagenet/decoder.hpp"

namespace slicereduce {

namespace {

/// libpng's simplified reader: errors become a message, nothing jumps.
class PngReader {
 public:
  PngReader() { handle_.version = PNG_IMAGE_VERSION; }
  ~PngReader() { png_image_free(&handle_); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  png_image* operator->() { return &handle_; }
  png_image* get() { return &handle_; }

 private:
  png_image handle_{};
};

}  // namespace

std::string decode_png(std::span<const std::byte> file, Image& image) {
  PngReader reader;
  if (png_image_begin_read_from_memory(reader.get(), file.data(), file.size()) == 0) {
    return reader->message;
  }
  const Extent extent{static_cast<std::int64_t>(reader->height), static_cast<std::int64_t>(reader->width)};
  if (std::string refusal = refusal_of_size(extent, file.size(), kMostPngPixelsPerByte); !refusal.empty()) {
    return refusal;
  }
  reader->format = PNG_FORMAT_RGB;
  // Without it libpng takes 16-bit pictures for linear light, which they hardly ever are.
  reader->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  image.resize(extent, 3);
  // No background: transparent pixels are put on what the buffer holds.
  std::fill(image.pixels.begin(), image.pixels.end(), std::uint8_t{0});
  if (png_image_finish_read(reader.get(), nullptr, image.pixels.data(), 0, nullptr) == 0) {
    return reader->message;
  }
  return "";
}

}  // namespace slicereduce
