#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "imagenet/image.hpp"

namespace slicereduce {

/// Decodes a PNG file to RGB. Returns why that failed, or nothing.
[[nodiscard]] std::string decode_png(std::span<const std::byte> file, Image& image);

}  // namespace slicereduce
