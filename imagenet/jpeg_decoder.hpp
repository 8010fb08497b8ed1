#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "imagenet/image.hpp"

namespace slicereduce {

/// libjpeg-turbo, one picture after another. What fails is told as text: a decoder knows no file's name.
class JpegDecoder {
 public:
  JpegDecoder();
  ~JpegDecoder();
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  /// Reads the header of `file`, which must outlive the decoding. Returns why that failed, or nothing.
  [[nodiscard]] std::string open(std::span<const std::byte> file);
  /// Of the opened picture.
  [[nodiscard]] Extent extent() const;
  /// Whether the opened file has an end. Where it has none it may be cut off, and only decoding all of it
  /// tells.
  [[nodiscard]] bool has_end() const { return has_end_; }

  /// Decodes what the opened picture, scaled down to 1 / `reduction` (1, 2, 4 or 8), has in `box` (of that
  /// scale's pixels) to RGB. `left_margin` is the number of columns that `image` has before the box: decoding
  /// starts at whole blocks. Returns why that failed, or nothing. The picture has to be opened again
  /// afterwards.
  [[nodiscard]] std::string decode(int reduction, const CropBox& box, Image& image,
                                   std::int64_t& left_margin);

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
  bool has_end_ = false;
};

}  // namespace slicereduce
