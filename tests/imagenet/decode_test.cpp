#include "imagenet/decode.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "core/error.hpp"
#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

Image decode(const Bytes& file) { return decode_image(std::as_bytes(std::span(file)), "some/file.jpg"); }
void expect_decoding_error(const Bytes& file, const std::string& part) {
  expect_input_error([&file] { (void)decode(file); }, part);
}
Bytes first_part(const Bytes& file, std::size_t size) {
  return {file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)};
}

int largest_difference(const Bytes& a, const Bytes& b) {
  EXPECT_EQ(a.size(), b.size());
  int largest = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(int{a[i]} - int{b[i]}));
  }
  return largest;
}

Image as_rgb(const Image& grey) {
  Image rgb{grey.height, grey.width, 3, {}};
  for (const auto value : grey.pixels) {
    rgb.pixels.insert(rgb.pixels.end(), 3, value);
  }
  return rgb;
}

// A quality of 95 on a smooth picture: quantization steps of a few levels and halved chroma.
constexpr int kJpegLoss = 8;

TEST(Decode, JpegIsThePictureToWithinItsLoss) {
  const Image original = smooth_image(37, 53, 3);
  for (const bool progressive : {false, true}) {
    const Image decoded = decode(jpeg(original, progressive));
    EXPECT_EQ(decoded.extent(), original.extent());
    EXPECT_EQ(decoded.channels, 3);
    EXPECT_LE(largest_difference(decoded.pixels, original.pixels), kJpegLoss);
  }
}

TEST(Decode, GreyJpegBecomesRgb) {
  const Image grey = smooth_image(37, 53, 1);
  const Image decoded = decode(jpeg(grey));
  EXPECT_EQ(decoded.channels, 3);
  EXPECT_LE(largest_difference(decoded.pixels, as_rgb(grey).pixels), kJpegLoss);
}

TEST(Decode, CmykJpegBecomesRgb) {
  // 255 is no ink: pure cyan ink on an otherwise clean page leaves no red.
  Image cyan{16, 16, 4, {}};
  for (int pixel = 0; pixel < 16 * 16; ++pixel) {
    cyan.pixels.insert(cyan.pixels.end(), {0, 255, 255, 255});
  }
  const Image decoded = decode(jpeg(cyan));
  ASSERT_EQ(decoded.pixels.size(), 16U * 16 * 3);
  for (std::size_t pixel = 0; pixel < 16 * 16; ++pixel) {
    EXPECT_LE(decoded.pixels[3 * pixel], 2);
    EXPECT_GE(decoded.pixels[3 * pixel + 1], 253);
    EXPECT_GE(decoded.pixels[3 * pixel + 2], 253);
  }
}

TEST(Decode, PngIsExactAndGreyBecomesRgb) {
  const Image colour = noise_image(7, 9, 3, 1);
  EXPECT_EQ(decode(png(colour)).pixels, colour.pixels);
  const Image grey = noise_image(7, 9, 1, 2);
  EXPECT_EQ(decode(png(grey)).pixels, as_rgb(grey).pixels);
}

TEST(Decode, TransparencyIsPutOnBlack) {
  const Image see_through{1, 2, 4, {200, 100, 50, 0, 200, 100, 50, 255}};
  EXPECT_EQ(decode(png(see_through)).pixels, (Bytes{0, 0, 0, 200, 100, 50}));
}

TEST(Decode, EveryTruncatedJpegIsAnErrorThatNamesIt) {
  for (const bool progressive : {false, true}) {
    const Bytes whole = jpeg(noise_image(24, 24, 3, 3), progressive);
    for (std::size_t size = 0; size < whole.size(); size += 7) {
      SCOPED_TRACE(size);
      expect_decoding_error(first_part(whole, size), "some/file.jpg");
    }
  }
}

TEST(Decode, EveryTruncatedPngIsAnErrorThatNamesIt) {
  const Bytes whole = png(noise_image(24, 24, 3, 4));
  constexpr std::size_t kEndChunk = 12;  // without it the picture is all there, and libpng lets it pass
  for (std::size_t size = 0; size + kEndChunk < whole.size(); size += 7) {
    SCOPED_TRACE(size);
    expect_decoding_error(first_part(whole, size), "some/file.jpg");
  }
}

TEST(Decode, FlippedBytesNeverCrash) {
  const std::vector<Bytes> files{jpeg(noise_image(24, 24, 3, 5)), jpeg(noise_image(24, 24, 3, 5), true),
                                 png(noise_image(24, 24, 3, 5))};
  int refused = 0;
  for (const Bytes& whole : files) {
    for (std::size_t at = 8; at < whole.size(); ++at) {
      Bytes damaged = whole;
      damaged[at] ^= 0x55;
      try {
        const Image image = decode(damaged);
        EXPECT_EQ(image.pixels.size(), static_cast<std::size_t>(image.height * image.width * 3));
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::input);
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(Decode, AHeaderThatAnnouncesTooManyPixelsIsRefused) {
  Bytes file = jpeg(smooth_image(16, 16, 3));
  // Start of frame: FF C0, length (2), precision (1), height (2), width (2).
  for (std::size_t at = 0; at + 9 < file.size(); ++at) {
    if (file[at] == 0xFF && file[at + 1] == 0xC0) {
      std::fill_n(file.begin() + static_cast<std::ptrdiff_t>(at) + 5, 4, std::uint8_t{0xFA});
    }
  }
  expect_decoding_error(file, "2^28 pixels");
}

/// As chunks of a PNG have it (its specification, annex D).
std::uint32_t crc32(std::span<const std::uint8_t> bytes) {
  std::uint32_t crc = ~0U;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
    }
  }
  return ~crc;
}

TEST(Decode, AHeaderThatAnnouncesMoreThanItsFileCanHoldIsRefused) {
  Bytes file = png(smooth_image(16, 16, 3));
  // Behind the signature: the first chunk's length (4), name (4), width (4), height (4), 5 more, checksum
  // (4).
  file.at(16 + 2) = 0x20;
  file.at(20 + 2) = 0x20;
  const std::uint32_t crc = crc32(std::span(file).subspan(12, 17));
  for (std::size_t i = 0; i < 4; ++i) {
    file.at(29 + i) = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
  }
  expect_decoding_error(file, "8208x8208 pixels, more than its");
}

TEST(Decode, OtherFormatsAreNamedAsSuch) {
  expect_decoding_error({'G', 'I', 'F', '8', '9', 'a'}, "neither JPEG nor PNG");
  expect_decoding_error({}, "empty");
}

}  // namespace
}  // namespace slicereduce
