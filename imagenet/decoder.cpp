#include "imagenet/decoder.hpp"

#include <algorithm>
#include <array>

#include "core/text.hpp"
#include "imagenet/decode_png.hpp"

namespace slicereduce {

namespace {

template <std::size_t size>
bool starts_with(std::span<const std::byte> file, const std::array<unsigned char, size>& magic) {
  return file.size() >= size && std::equal(magic.begin(), magic.end(), file.begin(),
                                           [](unsigned char a, std::byte b) { return std::byte{a} == b; });
}

constexpr std::array<unsigned char, 3> kJpegMagic{0xFF, 0xD8, 0xFF};
constexpr std::array<unsigned char, 8> kPngMagic{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

void require_success(const std::string& failure) {
  if (!failure.empty()) {
    throw Error(ErrorKind::input, failure);
  }
}

// libjpeg scales down by a filter of its own, the mean of whole blocks more or less. The resizing that
// follows should be what decides: with 1 for 2, 200 photographs at 128 pixels came out 0.7 levels of 255 off
// in the mean, one of them 6.3, instead of 0.15 and 0.8, for 1.1 times as many a second; at 224 nothing was
// won.
constexpr std::int64_t kSpare = 2;

int greatest_reduction(const CropBox& box, Extent least) {
  const Extent target{kSpare * least.height, kSpare * least.width};
  int reduction = 8;  // of libjpeg's scales only halves have fast code
  while (reduction > 1 && (box.height < reduction * target.height || box.width < reduction * target.width)) {
    reduction /= 2;
  }
  return reduction;
}

/// The pixels of a picture scaled down that show some of `box`.
CropBox touched(const CropBox& box, int reduction) {
  const auto end = [reduction](std::int64_t at) { return (at + reduction - 1) / reduction; };
  const std::int64_t top = box.top / reduction;
  const std::int64_t left = box.left / reduction;
  return {top, left, end(box.top + box.height) - top, end(box.left + box.width) - left};
}

/// `box` in the pixels of `scaled`, a part of the picture scaled down.
FractionalBox within(const CropBox& scaled, const CropBox& box, int reduction) {
  const double scale = 1.0 / reduction;
  return {static_cast<double>(box.top) * scale - static_cast<double>(scaled.top),
          static_cast<double>(box.left) * scale - static_cast<double>(scaled.left),
          static_cast<double>(box.height) * scale, static_cast<double>(box.width) * scale};
}

}  // namespace

std::string refusal_of_size(Extent extent, std::size_t file_bytes, std::int64_t most_per_byte) {
  const std::int64_t pixels = extent.height * extent.width;
  if (pixels > kMostPixels) {
    return "its header announces more than 2^28 pixels";
  }
  if (pixels / most_per_byte > static_cast<std::int64_t>(file_bytes)) {
    return concat("its header announces ", extent.width, "x", extent.height, " pixels, more than its ",
                  file_bytes, " bytes can hold");
  }
  return "";
}

Extent Decoder::open(const StoredImage& stored) {
  stored_ = &stored;
  if (!stored.is_file) {
    form_ = Form::pixels;
    extent_ = stored.image.extent();
  } else if (starts_with(stored.file, kJpegMagic)) {
    form_ = Form::jpeg;
    require_success(jpeg_.open(stored.file));
    extent_ = jpeg_.extent();
    require_success(refusal_of_size(extent_, stored.file.size(), kMostJpegPixelsPerByte));
  } else if (starts_with(stored.file, kPngMagic)) {
    form_ = Form::png;
    require_success(decode_png(stored.file, image_));  // there is no part of a PNG
    extent_ = image_.extent();
  } else {
    throw Error(ErrorKind::input, stored.file.empty() ? "it is empty" : "it is neither JPEG nor PNG");
  }
  return extent_;
}

const Image& Decoder::whole() {
  require(stored_ != nullptr, "Decoder: nothing was opened");
  if (form_ == Form::pixels) {
    return stored_->image;
  }
  if (form_ == Form::jpeg) {
    std::int64_t left_margin = 0;
    require_success(jpeg_.decode(1, CropBox::whole(extent_), image_, left_margin));
  }
  return image_;
}

Region Decoder::part(const CropBox& box, Extent target) {
  require(box.is_within(extent_), "Decoder: the box is not within the picture");
  if (form_ != Form::jpeg || !jpeg_.has_end()) {
    return Region::cropped(whole(), box);
  }
  const int reduction = greatest_reduction(box, target);
  const CropBox scaled = touched(box, reduction);
  std::int64_t left_margin = 0;
  require_success(jpeg_.decode(reduction, scaled, image_, left_margin));
  return {PixelView::of(image_).cut({0, left_margin, scaled.height, scaled.width}),
          within(scaled, box, reduction)};
}

Error undecodable(const ImageSource& source, std::int64_t index, const Error& failure) {
  if (failure.kind() != ErrorKind::input) {
    return failure;
  }
  return {ErrorKind::input,
          concat("cannot decode ", source.name(index), ": ", failure.what(), "; replace or remove the file")};
}

Image load_image(const ImageSource& source, std::int64_t index) {
  StoredImage stored;
  source.read(index, stored);
  Decoder decoder;
  try {
    decoder.open(stored);
    return decoder.whole();
  } catch (const Error& failure) {
    throw undecodable(source, index, failure);
  }
}

namespace {

/// Of a few pictures, from all over the source. Decoding all to know for sure takes minutes on ImageNet.
std::vector<std::int64_t> samples_of(const ImageSource& source) {
  constexpr std::int64_t kSamples = 16;
  const std::int64_t count = std::min(kSamples, source.size());
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < count; ++i) {
    samples.push_back(i * source.size() / count);
  }
  return samples;
}

}  // namespace

std::optional<Extent> sample_extent(const ImageSource& source) {
  std::optional<Extent> extent;
  for (const std::int64_t index : samples_of(source)) {
    try {
      const Extent found = load_image(source, index).extent();
      if (extent.value_or(found) != found) {
        return std::nullopt;  // photographs differ within the first two
      }
      extent = found;
    } catch (const Error& failure) {
      if (failure.kind() != ErrorKind::input) {
        throw;
      }
    }
  }
  return extent;
}

void require_decodable_samples(const ImageSource& source) {
  for (const std::int64_t index : samples_of(source)) {
    (void)load_image(source, index);
  }
}

}  // namespace slicereduce
