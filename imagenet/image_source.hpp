#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace slicereduce {

enum class Split { train, validation };

/// Height and width in pixels.
struct Extent {
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool operator==(const Extent&) const = default;
};

/// A decoded picture: `pixels` is [height, width, channels], one byte a value.
struct Image {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::vector<std::uint8_t> pixels;

  [[nodiscard]] Extent extent() const { return {height, width}; }
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
  /// Of every picture: 1 or 3.
  [[nodiscard]] virtual std::int64_t channels() const = 0;
  /// In [0, num_classes).
  [[nodiscard]] virtual std::int64_t label(std::int64_t index) const = 0;
  /// Throws Error(input) naming the file where it is missing or damaged.
  [[nodiscard]] virtual Image load(std::int64_t index) const = 0;
  /// A digest of what the split is, for ranks to compare: equal on two machines when they hold the same
  /// labels, and the same bytes (formats kept in memory) or the same file names and sizes (folders,
  /// which this walks: call it once).
  [[nodiscard]] virtual std::uint64_t fingerprint() const = 0;
  /// The extent that all pictures share, or nothing where they differ. Folders answer from a sample of
  /// their files: good enough to choose defaults, not a promise about each picture.
  [[nodiscard]] virtual std::optional<Extent> fixed_extent() const = 0;
};

/// Whether pictures all have one extent of at most 64 pixels a side: CIFAR, MNIST, Tiny ImageNet. Those
/// are trained on as they are, photographs in crops of changing scale.
[[nodiscard]] bool has_small_images(const ImageSource& source);

}  // namespace slicereduce
