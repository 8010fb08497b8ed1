#include "launcher/view_dump.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "core/atomic_file.hpp"
#include "core/text.hpp"
#include "imagenet/decoder.hpp"

namespace slicereduce {

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span<const char>(text));
}

/// NumPy's format 1.0: the array follows at a multiple of 64 bytes.
std::string npy_header(std::int64_t count, std::int64_t side, std::int64_t channels) {
  constexpr std::size_t kPreamble = 10;
  constexpr std::size_t kAlignment = 64;
  constexpr std::size_t kByte = 256;
  std::string text = concat("{'descr': '|u1', 'fortran_order': False, 'shape': (", count, ", ", side, ", ",
                            side, ", ", channels, "), }");
  text.append(kAlignment - (kPreamble + text.size() + 1) % kAlignment, ' ');
  text += '\n';
  std::string preamble = "\x93NUMPY";
  preamble +=
      {'\x01', '\x00', static_cast<char>(text.size() % kByte), static_cast<char>(text.size() / kByte)};
  return preamble + text;
}

/// What is known of one view. Its chance is drawn again, as the loader drew it.
class Describer {
 public:
  Describer(const DumpedViews& views, const ImageSource& source) : views_(views), source_(source) {}

  std::string line(std::int64_t index, std::int64_t label) {
    nlohmann::ordered_json line{{"name", source_.name(index)}, {"label", label}};
    if (views_.epoch && views_.transform.augment != Augment::none) {
      source_.read(index, stored_);
      RandomStream random = augmentation(views_.seed, *views_.epoch, index);
      const Variation variation = draw_variation(decoder_.open(stored_), views_.transform, random);
      const Region region =
          decoder_.part(variation.box, {views_.transform.image_size, views_.transform.image_size});
      line.update({{"top", variation.box.top},
                   {"left", variation.box.left},
                   {"height", variation.box.height},
                   {"width", variation.box.width},
                   {"down", variation.down},
                   {"right", variation.right},
                   {"mirrored", variation.is_mirrored},
                   {"decoded", decoded(variation.box, region)}});
    }
    return line.dump() + '\n';
  }

 private:
  /// What `--decode needed` decodes of a picture, in pixels of the scale at which it does.
  static nlohmann::ordered_json decoded(const CropBox& box, const Region& region) {
    const std::int64_t reduction = std::lround(static_cast<double>(box.height) / region.box.height);
    return {{"reduction", reduction},
            {"top", box.top / reduction},
            {"left", box.left / reduction},
            {"height", region.pixels.extent.height},
            {"width", region.pixels.extent.width}};
  }

  const DumpedViews& views_;
  const ImageSource& source_;
  StoredImage stored_;
  Decoder decoder_;
};

}  // namespace

void dump_views(const std::filesystem::path& array, const DumpedViews& views, const ImageSource& source,
                Loader& loader) {
  if (array.extension() != ".npy") {
    throw Error(ErrorKind::usage, concat("--dump ", array.string(), ": expected a name that ends in .npy"));
  }
  const std::int64_t side = views.transform.image_size;
  const auto view_bytes = static_cast<std::size_t>(side * side * source.channels());
  AtomicFile array_file(array);
  AtomicFile lines_file(std::filesystem::path(array).replace_extension(".jsonl"));
  array_file.write(bytes_of(npy_header(views.count, side, source.channels())));
  Describer describer(views, source);
  std::int64_t written = 0;
  while (written < views.count) {
    const auto batch = loader.next();
    if (!batch) {
      throw Error(ErrorKind::usage, concat("--count ", views.count, ": the set has ", written, " images"));
    }
    const std::int64_t taken = std::min(views.count - written, batch->images.size(0));
    array_file.write(std::as_bytes(std::span(batch->images.const_data_ptr<std::uint8_t>(),
                                             static_cast<std::size_t>(taken) * view_bytes)));
    for (std::int64_t i = 0; i < taken; ++i) {
      lines_file.write(bytes_of(describer.line(batch->indices.const_data_ptr<std::int64_t>()[i],
                                               batch->labels.const_data_ptr<std::int64_t>()[i])));
    }
    written += taken;
  }
  array_file.commit();
  lines_file.commit();
}

}  // namespace slicereduce
