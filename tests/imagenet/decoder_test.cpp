#include "imagenet/decoder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "core/error.hpp"
#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

StoredImage stored(const Bytes& file) {
  const auto bytes = std::as_bytes(std::span(file));
  return {.is_file = true, .file = {bytes.begin(), bytes.end()}};
}

Image decode(const Bytes& file) {
  const StoredImage picture = stored(file);
  Decoder decoder;
  decoder.open(picture);
  return decoder.whole();
}
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

TEST(Decoder, JpegIsThePictureToWithinItsLoss) {
  const Image original = smooth_image(37, 53, 3);
  for (const bool progressive : {false, true}) {
    const Image decoded = decode(jpeg(original, progressive));
    EXPECT_EQ(decoded.extent(), original.extent());
    EXPECT_EQ(decoded.channels, 3);
    EXPECT_LE(largest_difference(decoded.pixels, original.pixels), kJpegLoss);
  }
}

Bytes copy(const PixelView& view) {
  Bytes pixels;
  for (std::int64_t y = 0; y < view.extent.height; ++y) {
    const std::uint8_t* const row = view.first + y * view.stride;
    pixels.insert(pixels.end(), row, row + view.extent.width * view.channels);
  }
  return pixels;
}

void expect_box(const FractionalBox& box, const FractionalBox& expected) {
  EXPECT_EQ(box.top, expected.top);
  EXPECT_EQ(box.left, expected.left);
  EXPECT_EQ(box.height, expected.height);
  EXPECT_EQ(box.width, expected.width);
}

TEST(Decoder, APartIsWhatTheWholeHasThere) {
  // Blocks are 16 pixels wide here: boxes at their edges, within them, across them, and of one pixel.
  const std::vector<CropBox> boxes{{0, 0, 67, 83},  {0, 0, 16, 16},  {16, 32, 16, 16}, {15, 31, 18, 18},
                                   {66, 82, 1, 1},  {0, 82, 67, 1},  {66, 0, 1, 83},   {3, 5, 7, 11},
                                   {40, 47, 27, 3}, {50, 10, 10, 70}};
  for (const std::int64_t channels : {1, 3, 4}) {
    for (const bool progressive : {false, true}) {
      const StoredImage picture = stored(jpeg(smooth_image(67, 83, channels), progressive));
      Decoder decoder;
      decoder.open(picture);
      const Image whole = decoder.whole();
      for (const CropBox& box : boxes) {
        SCOPED_TRACE(::testing::Message() << channels << ' ' << progressive << ' ' << box.top << ' '
                                          << box.left << ' ' << box.height << ' ' << box.width);
        decoder.open(picture);
        const Region part = decoder.part(box, {1000, 1000});
        ASSERT_EQ(part.pixels.extent, (Extent{box.height, box.width}));
        expect_box(part.box, {0, 0, static_cast<double>(box.height), static_cast<double>(box.width)});
        // Chroma is blended with its neighbours, which a part's edge does not have.
        EXPECT_LE(largest_difference(copy(part.pixels), copy(PixelView::of(whole).cut(box))), 4);
        EXPECT_LE(part.pixels.stride, (box.width + 32) * 3);
      }
    }
  }
}

TEST(Decoder, ALargePartComesScaledDownButNotBelowTwiceItsTarget) {
  const StoredImage picture = stored(jpeg(smooth_image(401, 603, 3)));
  Decoder decoder;
  decoder.open(picture);
  const Region eighth = decoder.part({0, 0, 401, 603}, {25, 35});
  EXPECT_EQ(eighth.pixels.extent, (Extent{51, 76}));
  expect_box(eighth.box, {0, 0, 401.0 / 8, 603.0 / 8});
  decoder.open(picture);
  const Region half = decoder.part({101, 103, 200, 300}, {50, 50});
  EXPECT_EQ(half.pixels.extent, (Extent{101, 151}));
  expect_box(half.box, {0.5, 0.5, 100, 150});
  const Image original = smooth_image(401, 603, 3);
  const std::uint8_t* const at = half.pixels.first + 50 * half.pixels.stride + 75 * 3;
  EXPECT_NEAR(*at, original.pixels[((100 + 100) * 603 + 102 + 150) * 3], kJpegLoss);
  decoder.open(picture);
  EXPECT_EQ(decoder.part({0, 0, 199, 600}, {50, 50}).box.height, 199);
}

TEST(Decoder, AJpegThatLacksNothingButItsEndMarkerIsRead) {
  for (const bool progressive : {false, true}) {
    const Bytes whole = jpeg(noise_image(24, 24, 3, 3), progressive);
    const Bytes cut_off = first_part(whole, whole.size() - 2);
    EXPECT_EQ(decode(cut_off).pixels, decode(whole).pixels);
    const StoredImage picture = stored(cut_off);
    Decoder decoder;
    decoder.open(picture);
    EXPECT_EQ(copy(decoder.part({4, 4, 8, 8}, {100, 100}).pixels),
              copy(PixelView::of(decode(whole)).cut({4, 4, 8, 8})));
  }
}

TEST(Decoder, APartOfATruncatedJpegIsRefusedEvenWhereThatPartIsThere) {
  const Bytes whole = jpeg(noise_image(64, 64, 3, 3));
  const StoredImage picture = stored(first_part(whole, whole.size() - 200));
  Decoder decoder;
  decoder.open(picture);
  expect_input_error([&] { (void)decoder.part({0, 0, 8, 8}, {8, 8}); }, "");
}

TEST(Decoder, GreyJpegBecomesRgb) {
  const Image grey = smooth_image(37, 53, 1);
  const Image decoded = decode(jpeg(grey));
  EXPECT_EQ(decoded.channels, 3);
  EXPECT_LE(largest_difference(decoded.pixels, as_rgb(grey).pixels), kJpegLoss);
}

TEST(Decoder, CmykJpegBecomesRgb) {
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

TEST(Decoder, PngIsExactAndGreyBecomesRgb) {
  const Image colour = noise_image(7, 9, 3, 1);
  EXPECT_EQ(decode(png(colour)).pixels, colour.pixels);
  const Image grey = noise_image(7, 9, 1, 2);
  EXPECT_EQ(decode(png(grey)).pixels, as_rgb(grey).pixels);
}

TEST(Decoder, TransparencyIsIgnored) {
  const Image see_through{1, 2, 4, {200, 100, 50, 0, 200, 100, 50, 255}};
  Bytes pixels = decode(png(see_through)).pixels;
  pixels.resize(6);  // they were RGBA
  EXPECT_EQ(pixels, (Bytes{200, 100, 50, 200, 100, 50}));
}

TEST(Decoder, EveryTruncatedJpegIsAnError) {
  for (const bool progressive : {false, true}) {
    const Bytes whole = jpeg(noise_image(24, 24, 3, 3), progressive);
    constexpr std::size_t kEndMarker = 2;  // without it the picture is all there
    for (std::size_t size = 0; size + kEndMarker < whole.size(); size += 7) {
      SCOPED_TRACE(size);
      expect_decoding_error(first_part(whole, size), "");
    }
  }
}

TEST(Decoder, EveryTruncatedPngIsAnError) {
  const Bytes whole = png(noise_image(24, 24, 3, 4));
  constexpr std::size_t kEndChunk = 12;  // without it the picture is all there, and libpng lets it pass
  for (std::size_t size = 0; size + kEndChunk < whole.size(); size += 7) {
    SCOPED_TRACE(size);
    expect_decoding_error(first_part(whole, size), "");
  }
}

TEST(Decoder, FlippedBytesNeverCrash) {
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

TEST(Decoder, AHeaderThatAnnouncesTooManyPixelsIsRefused) {
  Bytes file = jpeg(smooth_image(16, 16, 3));
  // Start of frame: FF C0, length (2), precision (1), height (2), width (2).
  for (std::size_t at = 0; at + 9 < file.size(); ++at) {
    if (file[at] == 0xFF && file[at + 1] == 0xC0) {
      constexpr std::array<std::uint8_t, 4> kMostOfJpeg{0xFF, 0xDC, 0xFF, 0xDC};  // 65500 each way
      std::copy(kMostOfJpeg.begin(), kMostOfJpeg.end(), file.begin() + static_cast<std::ptrdiff_t>(at) + 5);
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

TEST(Decoder, AHeaderThatAnnouncesMoreThanItsFileCanHoldIsRefused) {
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

TEST(Decoder, OtherFormatsAreNamedAsSuch) {
  expect_decoding_error({'G', 'I', 'F', '8', '9', 'a'}, "neither JPEG nor PNG");
  expect_decoding_error({}, "empty");
}

}  // namespace
}  // namespace slicereduce
