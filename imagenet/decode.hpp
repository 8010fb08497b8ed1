#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// Larger pictures are refused before memory is taken for them: a damaged header can announce 2^32.
inline constexpr std::int64_t kMostPixels = std::int64_t{1} << 28;

/// Decodes a JPEG or PNG file to RGB, told apart by its first bytes: ImageNet has a PNG named .JPEG. Grey
/// becomes RGB, CMYK is converted, transparency is put on black, EXIF rotation is ignored (as Pillow does).
/// Throws Error(input) with `name` and the reason for other formats and truncated or corrupt files.
[[nodiscard]] Image decode_image(std::span<const std::byte> file, const std::string& name);

}  // namespace slicereduce
