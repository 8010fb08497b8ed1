#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// Whether `folder` holds MNIST-format pictures of either split.
[[nodiscard]] bool is_idx_folder(const std::filesystem::path& folder);

/// MNIST and what took its format (http://yann.lecun.com/exdb/mnist): grey pictures and labels of 10
/// classes in two IDX files, each plain or gzip-compressed, held in memory.
class IdxSource : public ImageSource {
 public:
  /// Reads `train-images-idx3-ubyte[.gz]` and `train-labels-idx1-ubyte[.gz]`, or `t10k-...` for
  /// validation. Throws Error(input) naming the file that is missing or damaged.
  IdxSource(const std::filesystem::path& folder, Split split);

  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(labels_.size()); }
  [[nodiscard]] std::int64_t num_classes() const override;
  [[nodiscard]] std::int64_t channels() const override { return 1; }
  [[nodiscard]] std::int64_t label(std::int64_t index) const override;
  void read(std::int64_t index, StoredImage& into) const override;
  [[nodiscard]] std::string name(std::int64_t index) const override;
  [[nodiscard]] std::uint64_t fingerprint() const override;
  [[nodiscard]] std::optional<Extent> fixed_extent() const override { return extent_; }

 private:
  Extent extent_;
  std::vector<std::uint8_t> pixels_;  // [size, height, width]
  std::vector<std::uint8_t> labels_;  // [size]
};

}  // namespace slicereduce
