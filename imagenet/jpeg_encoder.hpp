#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "imagenet/image.hpp"

namespace slicereduce {

/// Writes `image`, RGB, as a JPEG file with `quality` 1 to 100 (libjpeg's) and half the resolution of
/// colours, as cameras do. Returns why that failed, or nothing.
[[nodiscard]] std::string encode_jpeg(const Image& image, int quality, std::vector<std::byte>& file);

}  // namespace slicereduce
