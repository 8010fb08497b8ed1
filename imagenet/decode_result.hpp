#pragma once

#include <string>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// A picture, or why there is none: a decoder does not know the file's name, which the error must say.
struct DecodeResult {
  Image image;
  std::string failure;
};

}  // namespace slicereduce
