#pragma once

#include <cstddef>
#include <span>

#include "imagenet/decode_result.hpp"

namespace slicereduce {

/// Decodes a JPEG file (baseline or progressive; grey, YCbCr, RGB, CMYK, YCCK) to RGB.
[[nodiscard]] DecodeResult decode_jpeg(std::span<const std::byte> file);

}  // namespace slicereduce
