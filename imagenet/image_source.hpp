#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "imagenet/image.hpp"

namespace slicereduce {

/// Which pictures of a dataset.
enum class Split { train, validation };

/// A picture as its source keeps it: a JPEG or PNG file, or its pixels. Filled again and again, it takes no
/// new memory.
struct StoredImage {
  bool is_file = false;
  std::vector<std::byte> file;  ///< if is_file
  Image image;                  ///< if not
};

/// One split of a dataset: labelled pictures by index. What differs between datasets stops here.
/// Every function may be called from several threads at once.
class ImageSource {
 public:
  ImageSource() = default;
  virtual ~ImageSource() = default;
  ImageSource(const ImageSource&) = delete;
  ImageSource& operator=(const ImageSource&) = delete;

  [[nodiscard]] virtual std::int64_t size() const = 0;
  [[nodiscard]] virtual std::int64_t num_classes() const = 0;
  /// Of every picture once it is decoded: 1 or 3.
  [[nodiscard]] virtual std::int64_t channels() const = 0;
  /// What a class is called, by its number; empty where the dataset has numbers alone.
  [[nodiscard]] virtual std::vector<std::string> class_names() const { return {}; }
  /// In [0, num_classes).
  [[nodiscard]] virtual std::int64_t label(std::int64_t index) const = 0;
  /// Throws Error(input) naming the picture where it is missing.
  virtual void read(std::int64_t index, StoredImage& into) const = 0;
  /// Where the picture comes from, for messages: a path, or a place in a file.
  [[nodiscard]] virtual std::string name(std::int64_t index) const = 0;
  /// A digest of what the split is, for ranks to compare: equal on two machines when they hold the same
  /// labels, and the same bytes (formats kept in memory) or the same file names and, of some, sizes (what
  /// stays on the disk; this asks for them: call it once).
  [[nodiscard]] virtual std::uint64_t fingerprint() const = 0;
  /// The extent that all pictures share, or nothing where they differ. Folders answer from a sample of
  /// their files: good enough to choose defaults, not a promise about each picture.
  [[nodiscard]] virtual std::optional<Extent> fixed_extent() const = 0;
};

/// Whether pictures all have one extent of at most 64 pixels a side: CIFAR, MNIST, Tiny ImageNet. Those
/// are trained on as they are, photographs in crops of changing scale.
[[nodiscard]] bool has_small_images(const ImageSource& source);

}  // namespace slicereduce
