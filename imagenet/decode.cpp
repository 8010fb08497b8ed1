#include "imagenet/decode.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "core/text.hpp"
#include "imagenet/decode_jpeg.hpp"
#include "imagenet/decode_png.hpp"

namespace slicereduce {

namespace {

template <std::size_t size>
bool starts_with(std::span<const std::byte> file, const std::array<unsigned char, size>& magic) {
  return file.size() >= size && std::equal(magic.begin(), magic.end(), file.begin(),
                                           [](unsigned char a, std::byte b) { return std::byte{a} == b; });
}

}  // namespace

std::string refusal_of_size(std::int64_t height, std::int64_t width, std::size_t file_bytes,
                            std::int64_t most_per_byte) {
  if (height * width > kMostPixels) {
    return "its header announces more than 2^28 pixels";
  }
  if (height * width / most_per_byte > static_cast<std::int64_t>(file_bytes)) {
    return concat("its header announces ", width, "x", height, " pixels, more than its ", file_bytes,
                  " bytes can hold");
  }
  return "";
}

Image decode_image(std::span<const std::byte> file, const std::string& name) {
  constexpr std::array<unsigned char, 3> kJpegMagic{0xFF, 0xD8, 0xFF};
  constexpr std::array<unsigned char, 8> kPngMagic{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  DecodeResult result;
  if (starts_with(file, kJpegMagic)) {
    result = decode_jpeg(file);
  } else if (starts_with(file, kPngMagic)) {
    result = decode_png(file);
  } else {
    result.failure = file.empty() ? "it is empty" : "it is neither JPEG nor PNG";
  }
  if (!result.failure.empty()) {
    throw Error(ErrorKind::input,
                concat("cannot decode ", name, ": ", result.failure, "; replace or remove the file"));
  }
  return std::move(result.image);
}

}  // namespace slicereduce
