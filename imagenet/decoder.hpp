#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "core/error.hpp"
#include "imagenet/image_source.hpp"
#include "imagenet/jpeg_decoder.hpp"

namespace slicereduce {

/// Larger pictures are refused before memory is taken for them: a damaged header can announce 2^32.
inline constexpr std::int64_t kMostPixels = std::int64_t{1} << 28;
/// And where they are more than the format can make of the file: in JPEG 64 pixels take a bit (but
/// for arithmetic coding, which is rare: so twice as many), in PNG a pixel does, of what deflate makes 1032
/// times as long.
inline constexpr std::int64_t kMostJpegPixelsPerByte = 2 * 8 * 64;
inline constexpr std::int64_t kMostPngPixelsPerByte = 8 * 1032;

/// Why a picture is refused by its header; empty where it is not.
[[nodiscard]] std::string refusal_of_size(Extent extent, std::size_t file_bytes, std::int64_t most_per_byte);

/// Decodes one picture after another, in buffers that are used again. JPEG and PNG files are told apart by
/// their first bytes: ImageNet has a PNG named .JPEG. They become RGB: grey thrice, CMYK converted,
/// transparency ignored; EXIF rotation is ignored (as Pillow does).
///
/// Throws Error(input) with the reason alone for other formats and truncated or corrupt files: whoever has
/// the picture knows its name.
class Decoder {
 public:
  /// Reads the header of `stored`, which must outlive the decoding. Returns the picture's extent.
  Extent open(const StoredImage& stored);
  /// All of the opened picture.
  [[nodiscard]] const Image& whole();
  /// `box` of the opened picture, decoding little more than it. Where it is much larger than `target`, which
  /// it is to be resized to, it comes scaled down to 1/2, 1/4 or 1/8 (by libjpeg, which then does less):
  /// still at least twice `target` each way. The decoder holds the pixels until it is used again.
  [[nodiscard]] Region part(const CropBox& box, Extent target);

 private:
  enum class Form { pixels, jpeg, png };

  Form form_ = Form::pixels;
  const StoredImage* stored_ = nullptr;
  Extent extent_;
  JpegDecoder jpeg_;
  Image image_;
};

/// `failure` of a Decoder, told of the picture by name.
[[nodiscard]] Error undecodable(const ImageSource& source, std::int64_t index, const Error& failure);

/// All of a source's picture. Throws Error(input) naming it. For one picture now and then: a Decoder keeps
/// its buffers.
[[nodiscard]] Image load_image(const ImageSource& source, std::int64_t index);

/// The extent that a few of a source's pictures share, or nothing where they differ. Those that can't be
/// decoded are passed over: whoever reads them knows whether they are to be skipped.
[[nodiscard]] std::optional<Extent> sample_extent(const ImageSource& source);

/// Throws Error(input) naming the first of a few pictures that can't be decoded: for whoever would be ended
/// by it later, with something written already.
void require_decodable_samples(const ImageSource& source);

}  // namespace slicereduce
