/// Decodes regions of JPEG files with libjpeg-turbo and does nothing else: what no loader can be faster than.
///
/// Reads a line for each region from standard input, "FILE REDUCTION TOP LEFT HEIGHT WIDTH": the file is
/// decoded at 1 / REDUCTION of its size, the box is of that scale's pixels. The files are in memory before
/// time counts. Prints one JSON object. Usage: jpeg_limit THREADS REPEATS

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

// After <cstdio>: jpeglib.h uses FILE without including it.
#include <jpeglib.h>

namespace {

using Bytes = std::vector<unsigned char>;

struct Region {
  const Bytes* file = nullptr;
  unsigned int reduction = 1;
  JDIMENSION top = 0;
  JDIMENSION left = 0;
  JDIMENSION height = 0;
  JDIMENSION width = 0;
};

Bytes read_whole(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("cannot read " + path.string());
  }
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<Region> read_regions(std::istream& input, std::map<std::string, Bytes>& files) {
  std::vector<Region> regions;
  for (std::string line; std::getline(input, line);) {
    std::istringstream fields(line);
    std::string path;
    Region region;
    fields >> path >> region.reduction >> region.top >> region.left >> region.height >> region.width;
    if (!fields) {
      throw std::runtime_error("not a region: " + line);
    }
    auto& file = files[path];
    if (file.empty()) {
      file = read_whole(path);
    }
    region.file = &file;
    regions.push_back(region);
  }
  return regions;
}

class Decoder {
 public:
  Decoder() {
    handle_.err = jpeg_std_error(&errors_);  // whose errors end the program
    jpeg_create_decompress(&handle_);
  }
  ~Decoder() { jpeg_destroy_decompress(&handle_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  void decode(const Region& region) {
    jpeg_mem_src(&handle_, region.file->data(), region.file->size());
    jpeg_read_header(&handle_, TRUE);
    const bool cmyk = handle_.jpeg_color_space == JCS_CMYK || handle_.jpeg_color_space == JCS_YCCK;
    handle_.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    handle_.scale_num = 1;
    handle_.scale_denom = region.reduction;
    jpeg_start_decompress(&handle_);
    JDIMENSION left = region.left;
    JDIMENSION width = region.width;
    if (width < handle_.output_width) {
      jpeg_crop_scanline(&handle_, &left, &width);
    }
    if (region.top > 0) {
      jpeg_skip_scanlines(&handle_, region.top);
    }
    const std::size_t row_bytes = std::size_t{width} * static_cast<std::size_t>(handle_.output_components);
    if (pixels_.size() < row_bytes * region.height) {
      pixels_.resize(row_bytes * region.height);
    }
    for (JDIMENSION y = 0; y < region.height; ++y) {
      JSAMPROW row = pixels_.data() + y * row_bytes;
      jpeg_read_scanlines(&handle_, &row, 1);
    }
    jpeg_abort_decompress(&handle_);
  }

 private:
  jpeg_decompress_struct handle_{};
  jpeg_error_mgr errors_{};
  Bytes pixels_;
};

double images_per_second(const std::vector<Region>& regions, int threads, int repeats) {
  const std::size_t work = regions.size() * static_cast<std::size_t>(repeats);
  std::atomic<std::size_t> next = 0;
  const auto begin = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> pool;
    for (int i = 0; i < threads; ++i) {
      pool.emplace_back([&] {
        Decoder decoder;
        for (std::size_t at = next++; at < work; at = next++) {
          decoder.decode(regions[at % regions.size()]);
        }
      });
    }
  }
  return static_cast<double>(work) /
         std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main(int count, char** values) {
  if (count != 3) {
    std::cerr << "usage: jpeg_limit THREADS REPEATS <REGIONS\n";
    return 2;
  }
  try {
    const int threads = std::stoi(values[1]);
    const int repeats = std::stoi(values[2]);
    std::map<std::string, Bytes> files;
    const auto regions = read_regions(std::cin, files);
    (void)images_per_second(regions, threads, 1);  // warms caches
    std::cout << R"({"peer": "libjpeg-turbo alone", "threads": )" << threads << R"(, "images_per_s": )"
              << images_per_second(regions, threads, repeats) << "}" << std::endl;
  } catch (const std::exception& failure) {
    std::cerr << "jpeg_limit: " << failure.what() << '\n';
    return 1;
  }
  return 0;
}
