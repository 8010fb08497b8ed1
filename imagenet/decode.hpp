#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// Larger pictures are refused before memory is taken for them: a damaged header can announce 2^32.
inline constexpr std::int64_t kMostPixels = std::int64_t{1} << 28;
/// And where they are more than the format can make of the file: in JPEG 64 pixels take a bit (but
/// for arithmetic coding, which is rare: so twice as many), in PNG a pixel does, of what deflate makes 1032
/// times as long.
inline constexpr std::int64_t kMostJpegPixelsPerByte = 2 * 8 * 64;
inline constexpr std::int64_t kMostPngPixelsPerByte = 8 * 1032;

/// Why a picture is refused by its header; empty where it is not.
[[nodiscard]] std::string refusal_of_size(std::int64_t height, std::int64_t width, std::size_t file_bytes,
                                          std::int64_t most_per_byte);

/// Decodes a JPEG or PNG file to RGB, told apart by its first bytes: ImageNet has a PNG named .JPEG. Grey
/// becomes RGB, CMYK is converted, transparency is put on black, EXIF rotation is ignored (as Pillow does).
/// Throws Error(input) with `name` and the reason for other formats and truncated or corrupt files.
[[nodiscard]] Image decode_image(std::span<const std::byte> file, const std::string& name);

}  // namespace slicereduce
