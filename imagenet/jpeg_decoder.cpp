#include "imagenet/jpeg_decoder.hpp"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <vector>

// After <cstdio>: jpeglib.h uses FILE without including it.
#include <jerror.h>
#include <jpeglib.h>

namespace slicereduce {

namespace {

/// libjpeg reports through callbacks that must not return; `base` comes first so that its address is ours.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf failed;
  std::array<char, JMSG_LENGTH_MAX> message;
  bool ran_out;  ///< the file ended before its end marker
};

ErrorManager& errors_of(j_common_ptr decoder) { return *reinterpret_cast<ErrorManager*>(decoder->err); }

[[noreturn]] void on_error(j_common_ptr decoder) {
  decoder->err->format_message(decoder, errors_of(decoder).message.data());
  std::longjmp(errors_of(decoder).failed, 1);
}

// libjpeg warns of truncated or corrupt data and goes on with grey: training on that unnoticed is worse than
// stopping. What real photographs have without harm (rubbish between markers, odd headers) stays a warning.
void on_message(j_common_ptr decoder, int level) {
  constexpr std::array kHarmless{JWRN_EXTRANEOUS_DATA, JWRN_ADOBE_XFORM, JWRN_JFIF_MAJOR, JWRN_TOO_MUCH_DATA};
  const int code = decoder->err->msg_code;
  if (level < 0 && code == JWRN_JPEG_EOF) {
    errors_of(decoder).ran_out = true;  // whether more than the marker is missing shows at the end
  } else if (level < 0 && std::find(kHarmless.begin(), kHarmless.end(), code) == kHarmless.end()) {
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

/// Cameras and editors leave rubbish behind the end marker, but not much of it.
bool ends_with_marker(std::span<const std::byte> file) {
  constexpr std::size_t kMostRubbish = std::size_t{1} << 16;
  const auto tail = file.last(std::min(file.size(), kMostRubbish));
  constexpr std::array kEndMarker{std::byte{0xFF}, std::byte{JPEG_EOI}};
  return std::find_end(tail.begin(), tail.end(), kEndMarker.begin(), kEndMarker.end()) != tail.end();
}

/// Multiplies two numbers from 0 to 1 in steps of 1/255, rounding as Pillow does.
std::uint8_t product_of_bytes(std::uint32_t a, std::uint32_t b) {
  const std::uint32_t product = a * b + 128;
  return static_cast<std::uint8_t>(((product >> 8) + product) >> 8);
}

}  // namespace

/// Its functions call libjpeg: none may hold an object with a destructor, which longjmp would skip.
struct JpegDecoder::Handle {
  void read_header(std::span<const std::byte> file);
  void start(int reduction);
  void seek(const CropBox& box, std::int64_t& left_margin);
  void read_rgb(Image& image);
  void read_cmyk(Image& image);
  void finish();

  [[nodiscard]] bool is_cmyk() const {
    return decoder.jpeg_color_space == JCS_CMYK || decoder.jpeg_color_space == JCS_YCCK;
  }
  [[nodiscard]] bool is_complete_without_end() const;

  jpeg_decompress_struct decoder{};
  jpeg_progress_mgr progress{};
  ErrorManager errors{};
  std::vector<std::uint8_t> cmyk_row;
};

void JpegDecoder::Handle::read_header(std::span<const std::byte> file) {
  if (decoder.mem == nullptr) {
    jpeg_create_decompress(&decoder);
    decoder.progress = &progress;
  }
  jpeg_abort_decompress(&decoder);
  errors.ran_out = false;
  jpeg_mem_src(&decoder, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&decoder, TRUE);
}

void JpegDecoder::Handle::start(int reduction) {
  decoder.out_color_space = is_cmyk() ? JCS_CMYK : JCS_RGB;
  decoder.scale_num = 1;
  decoder.scale_denom = static_cast<unsigned int>(reduction);
  jpeg_start_decompress(&decoder);
}

void JpegDecoder::Handle::seek(const CropBox& box, std::int64_t& left_margin) {
  left_margin = 0;
  if (box.width < static_cast<std::int64_t>(decoder.output_width)) {
    auto left = static_cast<JDIMENSION>(box.left);
    auto width = static_cast<JDIMENSION>(box.width);
    jpeg_crop_scanline(&decoder, &left, &width);
    left_margin = box.left - static_cast<std::int64_t>(left);
  }
  if (box.top > 0) {
    jpeg_skip_scanlines(&decoder, static_cast<JDIMENSION>(box.top));
  }
}

void JpegDecoder::Handle::read_rgb(Image& image) {
  std::uint8_t* const first = image.pixels.data();
  for (std::int64_t y = 0; y < image.height; ++y) {
    JSAMPROW row = first + y * image.width * 3;
    jpeg_read_scanlines(&decoder, &row, 1);
  }
}

void JpegDecoder::Handle::read_cmyk(Image& image) {
  // Adobe writes CMYK inverted (255 is no ink), and every encoder in use follows it.
  std::uint8_t* rgb = image.pixels.data();
  for (std::int64_t y = 0; y < image.height; ++y) {
    JSAMPROW row = cmyk_row.data();
    jpeg_read_scanlines(&decoder, &row, 1);
    for (std::int64_t pixel = 0; pixel < image.width; ++pixel, row += 4, rgb += 3) {
      for (int channel = 0; channel < 3; ++channel) {
        rgb[channel] = product_of_bytes(row[channel], row[3]);
      }
    }
  }
}

bool JpegDecoder::Handle::is_complete_without_end() const {
  if (decoder.progressive_mode == FALSE) {
    // In one scan of Huffman codes whatever is missing was warned of.
    return decoder.arith_code == FALSE && decoder.comps_in_scan == decoder.num_components;
  }
  const int* const first = decoder.coef_bits[0];
  const auto is_exact = [](int missing_bits) { return missing_bits == 0; };
  return std::all_of(first, first + std::ptrdiff_t{decoder.num_components} * DCTSIZE2, is_exact);
}

void JpegDecoder::Handle::finish() {
  if (decoder.output_scanline < decoder.output_height) {
    jpeg_abort_decompress(&decoder);
    return;
  }
  const bool is_complete = is_complete_without_end();  // asked before the picture's memory is given back
  jpeg_finish_decompress(&decoder);
  if (errors.ran_out && !is_complete) {
    ERREXIT(&decoder, JWRN_JPEG_EOF);
  }
}

JpegDecoder::JpegDecoder() : handle_(std::make_unique<Handle>()) {
  handle_->decoder.err = jpeg_std_error(&handle_->errors.base);
  handle_->errors.base.error_exit = on_error;
  handle_->errors.base.emit_message = on_message;
  handle_->progress.progress_monitor = on_progress;
}

JpegDecoder::~JpegDecoder() { jpeg_destroy_decompress(&handle_->decoder); }

std::string JpegDecoder::open(std::span<const std::byte> file) {
  if (setjmp(handle_->errors.failed) != 0) {
    return handle_->errors.message.data();
  }
  handle_->read_header(file);
  has_end_ = ends_with_marker(file);
  return "";
}

Extent JpegDecoder::extent() const {
  return {static_cast<std::int64_t>(handle_->decoder.image_height),
          static_cast<std::int64_t>(handle_->decoder.image_width)};
}

std::string JpegDecoder::decode(int reduction, const CropBox& box, Image& image, std::int64_t& left_margin) {
  if (setjmp(handle_->errors.failed) != 0) {
    return handle_->errors.message.data();
  }
  handle_->start(reduction);
  handle_->seek(box, left_margin);
  const auto width = static_cast<std::int64_t>(handle_->decoder.output_width);
  image.resize({box.height, width}, 3);
  if (handle_->is_cmyk()) {
    handle_->cmyk_row.resize(static_cast<std::size_t>(width * 4));
    handle_->read_cmyk(image);
  } else {
    handle_->read_rgb(image);
  }
  handle_->finish();
  return "";
}

}  // namespace slicereduce
