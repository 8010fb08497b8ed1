#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// Whether `folder`, or cifar-10-batches-bin/ in it, holds CIFAR-10's binary files of either split.
[[nodiscard]] bool is_cifar10_folder(const std::filesystem::path& folder);

/// CIFAR-10, binary version (https://www.cs.toronto.edu/~kriz/cifar.html), held in memory. The files keep
/// a picture as three planes; load() interleaves them.
class Cifar10Source : public ImageSource {
 public:
  /// Reads data_batch_1.bin to data_batch_5.bin, or test_batch.bin for validation. Throws Error(input)
  /// naming the file that is missing or damaged.
  Cifar10Source(const std::filesystem::path& folder, Split split);

  [[nodiscard]] std::int64_t size() const override;
  [[nodiscard]] std::int64_t num_classes() const override;
  [[nodiscard]] std::int64_t channels() const override { return 3; }
  [[nodiscard]] std::int64_t label(std::int64_t index) const override;
  void read(std::int64_t index, StoredImage& into) const override;
  [[nodiscard]] std::string name(std::int64_t index) const override;
  [[nodiscard]] std::uint64_t fingerprint() const override;
  [[nodiscard]] std::optional<Extent> fixed_extent() const override;

 private:
  [[nodiscard]] const std::uint8_t* record(std::int64_t index) const;

  std::vector<std::uint8_t> records_;  // [size, 1 + 3 * 32 * 32]: label, then red, green and blue plane
};

}  // namespace slicereduce
