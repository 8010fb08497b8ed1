#include "tests/imagenet/dataset_files.hpp"

#include <png.h>
#include <zlib.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

// After <cstdio>: jpeglib.h uses FILE without including it.
#include <jpeglib.h>

#include "core/error.hpp"
#include "core/random.hpp"
#include "tests/support/expect_error.hpp"

namespace slicereduce::dataset_files {

void write_file(const std::filesystem::path& path, const Bytes& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  require(file.good(), "cannot write a test's file");
}

Bytes gzip(const Bytes& bytes) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file.gz";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

namespace {

Bytes idx(std::uint32_t magic, const std::vector<std::uint32_t>& lengths, const Bytes& items) {
  Bytes bytes;
  const auto append = [&bytes](std::uint32_t number) {
    for (const int shift : {24, 16, 8, 0}) {
      bytes.push_back(static_cast<std::uint8_t>(number >> shift));
    }
  };
  append(magic);
  for (const auto length : lengths) {
    append(length);
  }
  bytes.insert(bytes.end(), items.begin(), items.end());
  return bytes;
}

J_COLOR_SPACE color_space(std::int64_t channels) {
  if (channels == 1) {
    return JCS_GRAYSCALE;
  }
  return channels == 3 ? JCS_RGB : JCS_CMYK;
}

png_uint_32 png_format(std::int64_t channels) {
  if (channels == 1) {
    return PNG_FORMAT_GRAY;
  }
  return channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_RGBA;
}

}  // namespace

Bytes idx_images(std::uint32_t count, std::uint32_t height, std::uint32_t width, const Bytes& pixels) {
  return idx(0x803, {count, height, width}, pixels);
}

Bytes idx_labels(const Bytes& labels) {
  return idx(0x801, {static_cast<std::uint32_t>(labels.size())}, labels);
}

Image smooth_image(std::int64_t height, std::int64_t width, std::int64_t channels) {
  Image image{height, width, channels, {}};
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const double wave =
            std::sin(0.07 * static_cast<double>(y)) + std::cos(0.05 * static_cast<double>(x + 9 * c));
        image.pixels.push_back(static_cast<std::uint8_t>(128 + 50 * wave));
      }
    }
  }
  return image;
}

Image noise_image(std::int64_t height, std::int64_t width, std::int64_t channels, std::uint64_t seed) {
  RandomStream random(seed, RandomPurpose::augment, 0, 0);
  Image image{height, width, channels, Bytes(static_cast<std::size_t>(height * width * channels))};
  for (auto& pixel : image.pixels) {
    pixel = static_cast<std::uint8_t>(random.below(256));
  }
  return image;
}

Bytes jpeg(const Image& image, bool progressive) {
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* encoded = nullptr;
  unsigned long encoded_bytes = 0;
  jpeg_mem_dest(&encoder, &encoded, &encoded_bytes);
  encoder.image_width = static_cast<JDIMENSION>(image.width);
  encoder.image_height = static_cast<JDIMENSION>(image.height);
  encoder.input_components = static_cast<int>(image.channels);
  encoder.in_color_space = color_space(image.channels);
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, 95, TRUE);
  if (progressive) {
    jpeg_simple_progression(&encoder);
  }
  jpeg_start_compress(&encoder, TRUE);
  Bytes row(static_cast<std::size_t>(image.width * image.channels));
  for (std::int64_t y = 0; y < image.height; ++y) {
    std::copy_n(image.pixels.begin() + y * image.width * image.channels, row.size(), row.begin());
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&encoder, &pointer, 1);
  }
  jpeg_finish_compress(&encoder);
  Bytes bytes(encoded, encoded + encoded_bytes);
  jpeg_destroy_compress(&encoder);
  std::free(encoded);
  return bytes;
}

Bytes png(const Image& image) {
  png_image encoder{};
  encoder.version = PNG_IMAGE_VERSION;
  encoder.width = static_cast<png_uint_32>(image.width);
  encoder.height = static_cast<png_uint_32>(image.height);
  encoder.format = png_format(image.channels);
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(encoder);
  Bytes bytes(size);
  require(png_image_write_to_memory(&encoder, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr) != 0,
          "cannot encode a test's PNG");
  bytes.resize(size);
  return bytes;
}

void expect_input_error(const std::function<void()>& action, const std::string& part) {
  testing::expect_error_from(action, ErrorKind::input, part);
}

}  // namespace slicereduce::dataset_files
