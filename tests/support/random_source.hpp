#pragma once

#include <string>

#include "core/random.hpp"
#include "imagenet/image_source.hpp"

namespace slicereduce::testing {

/// Small images of random bytes, a function of their index.
class RandomSource final : public ImageSource {
 public:
  static constexpr std::int64_t kSide = 16;

  explicit RandomSource(std::int64_t size) : size_(size) {}

  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] std::int64_t num_classes() const override { return 10; }
  [[nodiscard]] std::int64_t channels() const override { return 3; }
  [[nodiscard]] std::int64_t label(std::int64_t index) const override { return index % 10; }
  void read(std::int64_t index, StoredImage& into) const override {
    RandomStream random(1, RandomPurpose::augment, 0, static_cast<std::uint64_t>(index));
    into.is_file = false;
    into.image.resize({.height = kSide, .width = kSide}, 3);
    for (auto& pixel : into.image.pixels) {
      pixel = static_cast<std::uint8_t>(random.below(256));
    }
  }
  [[nodiscard]] std::string name(std::int64_t index) const override { return std::to_string(index); }
  [[nodiscard]] std::uint64_t fingerprint() const override { return static_cast<std::uint64_t>(size_); }
  [[nodiscard]] std::optional<Extent> fixed_extent() const override {
    return Extent{.height = kSide, .width = kSide};
  }

 private:
  std::int64_t size_;
};

}  // namespace slicereduce::testing
