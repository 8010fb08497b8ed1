#include "imagenet/jpeg_encoder.hpp"

#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

// After <cstdio>: jpeglib.h uses FILE without including it.
#include <jpeglib.h>

namespace slicereduce {

namespace {

/// `base` comes first so that its address is ours.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf failed;
  std::array<char, JMSG_LENGTH_MAX> message;
};

[[noreturn]] void on_error(j_common_ptr encoder) {
  auto& errors = *reinterpret_cast<ErrorManager*>(encoder->err);
  encoder->err->format_message(encoder, errors.message.data());
  std::longjmp(errors.failed, 1);
}

/// What libjpeg allocates, whatever happens. Outside of the function that longjmp leaves.
struct Encoder {
  Encoder() {
    handle.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = on_error;
  }
  ~Encoder() {
    jpeg_destroy_compress(&handle);
    std::free(bytes);
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  jpeg_compress_struct handle{};
  ErrorManager errors{};
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
};

/// Calls libjpeg: holds no object with a destructor, which longjmp would skip. False where it failed.
bool encode(Encoder& encoder, const Image& image, int quality) {
  if (setjmp(encoder.errors.failed) != 0) {
    return false;
  }
  jpeg_create_compress(&encoder.handle);
  jpeg_mem_dest(&encoder.handle, &encoder.bytes, &encoder.size);
  encoder.handle.image_width = static_cast<JDIMENSION>(image.width);
  encoder.handle.image_height = static_cast<JDIMENSION>(image.height);
  encoder.handle.input_components = 3;
  encoder.handle.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder.handle);
  jpeg_set_quality(&encoder.handle, quality, TRUE);
  encoder.handle.optimize_coding = TRUE;
  jpeg_start_compress(&encoder.handle, TRUE);
  for (std::int64_t y = 0; y < image.height; ++y) {
    // libjpeg takes no const; it only reads.
    JSAMPROW row = const_cast<JSAMPROW>(image.pixels.data() + y * image.width * 3);
    jpeg_write_scanlines(&encoder.handle, &row, 1);
  }
  jpeg_finish_compress(&encoder.handle);
  return true;
}

}  // namespace

std::string encode_jpeg(const Image& image, int quality, std::vector<std::byte>& file) {
  Encoder encoder;
  if (!encode(encoder, image, quality)) {
    return encoder.errors.message.data();
  }
  const auto* const first = reinterpret_cast<const std::byte*>(encoder.bytes);
  file.assign(first, first + encoder.size);
  return "";
}

}  // namespace slicereduce
