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

/// RGBA to RGB, in place.
void drop_transparency(Image& image) {
  std::uint8_t* rgb = image.pixels.data();
  const std::uint8_t* rgba = rgb;
  for (std::int64_t pixel = 0; pixel < image.height * image.width; ++pixel, rgba += 4) {
    rgb = std::copy_n(rgba, 3, rgb);
  }
  image.channels = 3;
}

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
  // A format without transparency would mix the pixels with a background.
  const bool is_transparent = (reader->format & PNG_FORMAT_FLAG_ALPHA) != 0;
  reader->format = is_transparent ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
  // Without it libpng takes 16-bit pictures for linear light, which they hardly ever are.
  reader->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  image.resize(extent, is_transparent ? 4 : 3);
  if (png_image_finish_read(reader.get(), nullptr, image.pixels.data(), 0, nullptr) == 0) {
    return reader->message;
  }
  if (is_transparent) {
    drop_transparency(image);
  }
  return "";
}

}  // namespace slicereduce
