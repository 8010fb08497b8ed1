#include "imagenet/view_writer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

/// Files in memory, one picture each.
class FilesSource : public ImageSource {
 public:
  explicit FilesSource(std::vector<Bytes> files) : files_(std::move(files)) {}
  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  [[nodiscard]] std::int64_t num_classes() const override { return 1; }
  [[nodiscard]] std::int64_t channels() const override { return 3; }
  [[nodiscard]] std::int64_t label(std::int64_t) const override { return 0; }
  [[nodiscard]] std::uint64_t fingerprint() const override { return 0; }
  [[nodiscard]] std::optional<Extent> fixed_extent() const override { return std::nullopt; }
  [[nodiscard]] std::string name(std::int64_t index) const override {
    return "picture " + std::to_string(index);
  }
  void read(std::int64_t index, StoredImage& into) const override {
    const auto bytes = std::as_bytes(std::span(files_.at(static_cast<std::size_t>(index))));
    into.is_file = true;
    into.file.assign(bytes.begin(), bytes.end());
  }

 private:
  std::vector<Bytes> files_;
};

RandomStream stream_of_view(std::uint64_t i) { return {3, RandomPurpose::augment, 0, i}; }

Bytes row_of(const TransformConfig& config) {
  return Bytes(static_cast<std::size_t>(config.image_size * config.image_size * 3));
}

double mean_difference(const Bytes& a, const Bytes& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += std::abs(int{a[i]} - int{b[i]});
  }
  return sum / static_cast<double>(a.size());
}

/// How much neighbours differ in the mean, across and down.
double slope(const Bytes& view, std::int64_t side) {
  double sum = 0;
  for (std::int64_t y = 0; y + 1 < side; ++y) {
    for (std::int64_t i = 0; i < 3 * (side - 1); ++i) {
      const auto at = static_cast<std::size_t>(y * side * 3 + i);
      sum += std::abs(int{view[at]} - int{view[at + 3]});
      sum += std::abs(int{view[at]} - int{view[at + static_cast<std::size_t>(3 * side)]});
    }
  }
  return sum / static_cast<double>(3 * (side - 1) * (side - 1));
}

TEST(ViewWriter, WhatIsNeededIsTheWholeToAQuarterOfAPixel) {
  const FilesSource source({jpeg(smooth_image(403, 517, 3)), jpeg(smooth_image(403, 517, 3), true),
                            jpeg(smooth_image(900, 1201, 1)), jpeg(smooth_image(31, 29, 3)),
                            png(smooth_image(90, 70, 3))});
  ViewWriter writer(source);
  TransformConfig config{.image_size = 56};
  for (std::int64_t index = 0; index < source.size(); ++index) {
    for (std::uint64_t i = 0; i < 40; ++i) {
      SCOPED_TRACE(::testing::Message() << index << ' ' << i);
      Bytes needed = row_of(config);
      Bytes whole = row_of(config);
      RandomStream first = stream_of_view(i);
      RandomStream second = stream_of_view(i);
      config.decode = DecodeExtent::needed;
      const Variation variation = writer.write_training_view(index, config, first, needed);
      config.decode = DecodeExtent::whole;
      const Variation same = writer.write_training_view(index, config, second, whole);
      EXPECT_EQ(variation.box, same.box);
      EXPECT_EQ(variation.is_mirrored, same.is_mirrored);
      EXPECT_LE(mean_difference(needed, whole), 0.5 + 0.25 * slope(whole, config.image_size));
    }
  }
}

TEST(ViewWriter, AViewDoesNotDependOnWhatWasWrittenBefore) {
  const FilesSource source({jpeg(smooth_image(403, 517, 3)), Bytes{1, 2, 3}, jpeg(noise_image(30, 29, 4, 1)),
                            png(noise_image(90, 70, 3, 2)), jpeg(noise_image(50, 60, 3, 3), true)});
  const TransformConfig config{.image_size = 24};
  ViewWriter used(source);
  for (const std::int64_t index : {0, 1, 2, 3, 0, 4, 1, 4, 2, 0}) {
    Bytes row = row_of(config);
    RandomStream random = stream_of_view(0);
    if (index == 1) {
      expect_input_error([&] { used.write_training_view(index, config, random, row); }, "picture 1");
      continue;
    }
    used.write_training_view(index, config, random, row);
    Bytes fresh = row_of(config);
    RandomStream again = stream_of_view(0);
    ViewWriter(source).write_training_view(index, config, again, fresh);
    EXPECT_EQ(row, fresh) << index;
  }
}

TEST(ViewWriter, WithoutAugmentationIsTheEvaluationView) {
  const FilesSource source({jpeg(noise_image(40, 50, 3, 7))});
  const TransformConfig config{.image_size = 24, .augment = Augment::none};
  Bytes training = row_of(config);
  Bytes evaluation = row_of(config);
  RandomStream random = stream_of_view(0);
  ViewWriter writer(source);
  writer.write_training_view(0, config, random, training);
  writer.write_evaluation_view(0, config, evaluation);
  EXPECT_EQ(training, evaluation);
}

TEST(ViewWriter, SaysWhereItsTimeWent) {
  const FilesSource source({jpeg(noise_image(400, 500, 3, 7))});
  const TransformConfig config{.image_size = 224};
  ViewWriter writer(source);
  Bytes row = row_of(config);
  RandomStream random = stream_of_view(0);
  writer.write_training_view(0, config, random, row);
  const ViewTimes first = writer.times();
  EXPECT_GT(first.read.count(), 0);
  EXPECT_GT(first.decode.count(), 0);
  EXPECT_GT(first.resize.count(), 0);
  writer.write_evaluation_view(0, config, row);
  EXPECT_GT((writer.times() - first).decode.count(), 0);
}

}  // namespace
}  // namespace slicereduce
