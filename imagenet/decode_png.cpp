#include "imagenet/decode_png.hpp"

#include <png.h>

#include <string>
#include <utility>

#include "imagenet/decode.hpp"

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

DecodeResult decode_png(std::span<const std::byte> file) {
  PngReader reader;
  if (png_image_begin_read_from_memory(reader.get(), file.data(), file.size()) == 0) {
    return {{}, reader->message};
  }
  const std::int64_t height = reader->height;
  const std::int64_t width = reader->width;
  if (std::string refusal = refusal_of_size(height, width, file.size(), kMostPngPixelsPerByte);
      !refusal.empty()) {
    return {{}, std::move(refusal)};
  }
  reader->format = PNG_FORMAT_RGB;
  // Without it libpng takes 16-bit pictures for linear light, which they hardly ever are.
  reader->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  Image image{height, width, 3, std::vector<std::uint8_t>(PNG_IMAGE_SIZE(*reader.get()))};
  // No background: transparent pixels are put on what the buffer holds, which is black.
  if (png_image_finish_read(reader.get(), nullptr, image.pixels.data(), 0, nullptr) == 0) {
    return {{}, reader->message};
  }
  return {std::move(image), ""};
}

}  // namespace slicereduce
