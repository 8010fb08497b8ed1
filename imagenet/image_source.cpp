#include "imagenet/image_source.hpp"

namespace slicereduce {

bool has_small_images(const ImageSource& source) {
  constexpr std::int64_t kSmallSide = 64;
  const auto extent = source.fixed_extent();
  return extent && extent->height <= kSmallSide && extent->width <= kSmallSide;
}

}  // namespace slicereduce
