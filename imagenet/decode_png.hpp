#pragma once

#include <cstddef>
#include <span>

#include "imagenet/decode_result.hpp"

namespace slicereduce {

/// Decodes a PNG file of any type to RGB, 8 bits.
[[nodiscard]] DecodeResult decode_png(std::span<const std::byte> file);

}  // namespace slicereduce
