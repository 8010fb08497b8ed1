#include "imagenet/decode_jpeg.hpp"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

// After <cstdio>: jpeglib.h uses FILE without including it.
#include <jerror.h>
#include <jpeglib.h>

#include "core/text.hpp"
#include "imagenet/decode.hpp"

namespace slicereduce {

namespace {

/// libjpeg reports through callbacks that must not return; `base` comes first so that its address is ours.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf failed;
  std::array<char, JMSG_LENGTH_MAX> message;
};

[[noreturn]] void on_error(j_common_ptr decoder) {
  auto* manager = reinterpret_cast<ErrorManager*>(decoder->err);
  decoder->err->format_message(decoder, manager->message.data());
  std::longjmp(manager->failed, 1);
}

// libjpeg warns of truncated or corrupt data and goes on with grey: training on that unnoticed is worse than
// stopping. What real photographs have without harm (rubbish between markers, odd headers) stays a warning.
void on_message(j_common_ptr decoder, int level) {
  constexpr std::array kHarmless{JWRN_EXTRANEOUS_DATA, JWRN_ADOBE_XFORM, JWRN_JFIF_MAJOR, JWRN_TOO_MUCH_DATA};
  if (level < 0 && std::find(kHarmless.begin(), kHarmless.end(), decoder->err->msg_code) == kHarmless.end()) {
    on_error(decoder);
  }
}

// A small progressive file can ask for thousands of passes over a large picture; real ones make about ten.
void on_progress(j_common_ptr decoder) {
  constexpr int kMostScans = 500;
  if (reinterpret_cast<j_decompress_ptr>(decoder)->input_scan_number > kMostScans) {
    ERREXIT1(decoder, JERR_BAD_PROGRESSION, kMostScans);
  }
}

/// Owns the decoder's memory. Lives in the frame that longjmp never skips.
class JpegDecoder {
 public:
  JpegDecoder() {
    handle_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = on_error;
    errors_.base.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&handle_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  /// Fills `result`: `rows` is scratch space, passed in because longjmp runs no destructors.
  void run(std::span<const std::byte> file, DecodeResult& result, std::vector<std::uint8_t>& cmyk_row);

 private:
  void read_header(std::span<const std::byte> file);
  void read_rgb(Image& image);
  void read_cmyk(Image& image, std::vector<std::uint8_t>& cmyk_row);
  [[nodiscard]] bool is_cmyk() const {
    return handle_.jpeg_color_space == JCS_CMYK || handle_.jpeg_color_space == JCS_YCCK;
  }

  jpeg_decompress_struct handle_{};
  jpeg_progress_mgr progress_{};
  ErrorManager errors_{};
};

void JpegDecoder::read_header(std::span<const std::byte> file) {
  jpeg_create_decompress(&handle_);
  handle_.progress = &progress_;
  jpeg_mem_src(&handle_, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&handle_, TRUE);
  handle_.out_color_space = is_cmyk() ? JCS_CMYK : JCS_RGB;
}

void JpegDecoder::read_rgb(Image& image) {
  while (handle_.output_scanline < handle_.output_height) {
    JSAMPROW row = image.pixels.data() + std::size_t{handle_.output_scanline} * image.width * 3;
    jpeg_read_scanlines(&handle_, &row, 1);
  }
}

void JpegDecoder::read_cmyk(Image& image, std::vector<std::uint8_t>& cmyk_row) {
  // Adobe writes CMYK inverted (255 is no ink), and every encoder in use follows it.
  std::uint8_t* rgb = image.pixels.data();
  while (handle_.output_scanline < handle_.output_height) {
    JSAMPROW row = cmyk_row.data();
    jpeg_read_scanlines(&handle_, &row, 1);
    for (std::int64_t pixel = 0; pixel < image.width; ++pixel, row += 4, rgb += 3) {
      for (int channel = 0; channel < 3; ++channel) {
        rgb[channel] = static_cast<std::uint8_t>(row[channel] * row[3] / 255);
      }
    }
  }
}

void JpegDecoder::run(std::span<const std::byte> file, DecodeResult& result,
                      std::vector<std::uint8_t>& cmyk_row) {
  // From here no object with a destructor may live in this function, or in those it calls, while libjpeg is
  // called.
  if (setjmp(errors_.failed) != 0) {
    result.failure.assign(errors_.message.data());
    return;
  }
  read_header(file);
  Image& image = result.image;
  image.height = handle_.image_height;
  image.width = handle_.image_width;
  image.channels = 3;
  result.failure = refusal_of_size(image.height, image.width, file.size(), kMostJpegPixelsPerByte);
  if (!result.failure.empty()) {
    return;
  }
  image.pixels.resize(static_cast<std::size_t>(image.height * image.width * 3));
  cmyk_row.resize(is_cmyk() ? static_cast<std::size_t>(image.width * 4) : 0);
  jpeg_start_decompress(&handle_);
  is_cmyk() ? read_cmyk(image, cmyk_row) : read_rgb(image);
  jpeg_finish_decompress(&handle_);
}

}  // namespace

DecodeResult decode_jpeg(std::span<const std::byte> file) {
  DecodeResult result;
  std::vector<std::uint8_t> cmyk_row;
  JpegDecoder decoder;
  decoder.run(file, result, cmyk_row);
  return result;
}

}  // namespace slicereduce
