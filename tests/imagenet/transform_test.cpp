#include "imagenet/transform.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <span>
#include <string>

#include "core/error.hpp"
#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

Bytes row_for(std::int64_t image_size, std::int64_t channels) {
  Bytes row;
  row.assign(static_cast<std::size_t>(image_size * image_size * channels), 77);
  return row;
}

RandomStream stream(std::uint64_t image) { return {1, RandomPurpose::augment, 0, image}; }

Bytes training_view(const Image& image, const TransformConfig& config, std::uint64_t stream_of) {
  Bytes row = row_for(config.image_size, image.channels);
  RandomStream random = stream(stream_of);
  const Variation variation = draw_variation(image.extent(), config, random);
  Resampler resampler;
  write_varied_view(Region::cropped(image, variation.box), variation, config, resampler, row);
  return row;
}

Bytes evaluation_view(const Image& image, const TransformConfig& config) {
  Bytes row = row_for(config.image_size, image.channels);
  Resampler resampler;
  write_evaluation_view(image, config, resampler, row);
  return row;
}

TEST(RandomResizedCropBox, StaysInsideWithinItsAreaAndRatio) {
  const Extent picture{300, 400};
  double least_area = 1;
  double greatest_area = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    RandomStream random = stream(i);
    const CropBox box = random_resized_crop_box(picture, random);
    ASSERT_GE(box.top, 0);
    ASSERT_GE(box.left, 0);
    ASSERT_LE(box.top + box.height, picture.height);
    ASSERT_LE(box.left + box.width, picture.width);
    const auto height = static_cast<double>(box.height);
    const auto width = static_cast<double>(box.width);
    // Sides are rounded to whole pixels.
    ASSERT_LE((width - 0.5) / (height + 0.5), 4.0 / 3);
    ASSERT_GE((width + 0.5) / (height - 0.5), 3.0 / 4);
    const double area = height * width / (300 * 400);
    ASSERT_GE((height + 0.5) * (width + 0.5), 0.08 * 300 * 400);
    least_area = std::min(least_area, area);
    greatest_area = std::max(greatest_area, area);
  }
  EXPECT_LT(least_area, 0.1);
  EXPECT_GT(greatest_area, 0.9);
}

TEST(RandomResizedCropBox, FallsBackToTheMiddleOfExtremePictures) {
  RandomStream random = stream(0);
  const CropBox wide = random_resized_crop_box({30, 3000}, random);
  EXPECT_EQ(wide.height, 30);
  EXPECT_EQ(wide.width, 40);
  EXPECT_EQ(wide.left, 1480);
  const CropBox tall = random_resized_crop_box({1000, 1}, random);
  EXPECT_EQ(tall.width, 1);
  EXPECT_EQ(tall.height, 1);
}

TEST(TrainingView, IsAFunctionOfItsStream) {
  const Image image = noise_image(50, 60, 3, 4);
  const TransformConfig config{.image_size = 24};
  EXPECT_EQ(training_view(image, config, 5), training_view(image, config, 5));
  EXPECT_NE(training_view(image, config, 5), training_view(image, config, 6));
}

/// Bytes that can be a key: g++ 12 warns without reason about comparing vectors of bytes.
std::string key(const Bytes& view) { return {view.begin(), view.end()}; }

/// The picture moved and perhaps mirrored, by definition.
Bytes shifted(const Image& image, std::int64_t down, std::int64_t right, bool flip) {
  Bytes row;
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) {
      const std::int64_t from_y = y - down;
      const std::int64_t from_x = (flip ? image.width - 1 - x : x) - right;
      const bool inside = from_y >= 0 && from_y < image.height && from_x >= 0 && from_x < image.width;
      for (std::int64_t c = 0; c < image.channels; ++c) {
        const auto at = static_cast<std::size_t>((from_y * image.width + from_x) * image.channels + c);
        row.push_back(inside ? image.pixels[at] : std::uint8_t{0});
      }
    }
  }
  return row;
}

std::set<std::string> all_shifts(const Image& image, std::int64_t padding, bool flip) {
  std::set<std::string> views;
  for (std::int64_t down = -padding; down <= padding; ++down) {
    for (std::int64_t right = -padding; right <= padding; ++right) {
      views.insert(key(shifted(image, down, right, flip)));
    }
  }
  return views;
}

TEST(TrainingView, PadCropReachesEveryShiftBothWaysAndNothingElse) {
  const Image image = noise_image(8, 8, 3, 5);
  const TransformConfig config{.image_size = 8, .augment = Augment::pad_crop, .flip = true, .padding = 2};
  std::set<std::string> expected = all_shifts(image, 2, false);
  expected.merge(all_shifts(image, 2, true));
  ASSERT_EQ(expected.size(), 50U);
  std::set<std::string> seen;
  for (std::uint64_t i = 0; i < 2000; ++i) {  // each of 50 views is missed with (49/50)^2000 = 3e-18
    seen.insert(key(training_view(image, config, i)));
  }
  EXPECT_EQ(seen, expected);
}

TEST(TrainingView, WithoutFlipNothingIsMirrored) {
  const Image image = noise_image(8, 8, 1, 6);
  const TransformConfig config{.image_size = 8, .augment = Augment::pad_crop, .flip = false, .padding = 1};
  const auto expected = all_shifts(image, 1, false);
  for (std::uint64_t i = 0; i < 200; ++i) {
    EXPECT_TRUE(expected.contains(key(training_view(image, config, i))));
  }
}

TEST(EvaluationView, SmallPicturesAreLeftAsTheyAre) {
  const Image image = noise_image(32, 32, 3, 8);
  EXPECT_EQ(evaluation_view(image, {.image_size = 32, .eval_view = EvalView::whole}), image.pixels);
}

/// By definition: all of the picture resized, then the middle of it.
Bytes middle_of_resized(const Image& image, Extent resized, std::int64_t side, std::int64_t top,
                        std::int64_t left) {
  Bytes all(static_cast<std::size_t>(resized.height * resized.width * image.channels));
  Resampler().resample(Region::cropped(image, CropBox::whole(image.extent())), resized, false, all);
  Bytes middle;
  for (std::int64_t y = 0; y < side; ++y) {
    const auto first = all.begin() + ((top + y) * resized.width + left) * image.channels;
    middle.insert(middle.end(), first, first + side * image.channels);
  }
  return middle;
}

TEST(EvaluationView, PhotographsAreResizedAndCroppedInTheMiddle) {
  // 28 * 256 / 224 = 32: the 60 x 90 picture becomes 32 x 48, of which rows 2.. and columns 10.. remain.
  const Image landscape = noise_image(60, 90, 3, 9);
  EXPECT_EQ(evaluation_view(landscape, {.image_size = 28}),
            middle_of_resized(landscape, {32, 48}, 28, 2, 10));
  // 500 x 333 becomes 384 x 256; 73 x 400 is enlarged.
  const Image tall = noise_image(500, 333, 3, 10);
  EXPECT_EQ(evaluation_view(tall, {.image_size = 224}), middle_of_resized(tall, {384, 256}, 224, 80, 16));
  const Image small = noise_image(73, 400, 1, 11);
  EXPECT_EQ(evaluation_view(small, {.image_size = 224}), middle_of_resized(small, {256, 1402}, 224, 16, 589));
}

TEST(EvaluationView, ExtremePicturesTakeLittleMemory) {
  const Bytes row = evaluation_view(Image{1, 1'000'000, 1, Bytes(1'000'000, 5)}, {.image_size = 224});
  EXPECT_EQ(row, Bytes(row.size(), 5));
}

TEST(TransformConfig, RefusesSizesThatCannotBe) {
  EXPECT_THROW(TransformConfig{.image_size = 0}.validate(), Error);
  EXPECT_THROW(TransformConfig{.image_size = 100'000}.validate(), Error);
}

/// Pictures of one extent, or (where it is nothing) of many.
class Shapes : public ImageSource {
 public:
  Shapes(std::optional<Extent> extent, std::int64_t channels) : extent_(extent), channels_(channels) {}
  [[nodiscard]] std::int64_t size() const override { return 1; }
  [[nodiscard]] std::int64_t num_classes() const override { return 1; }
  [[nodiscard]] std::int64_t channels() const override { return channels_; }
  [[nodiscard]] std::int64_t label(std::int64_t) const override { return 0; }
  void read(std::int64_t, StoredImage&) const override {}
  [[nodiscard]] std::string name(std::int64_t) const override { return ""; }
  [[nodiscard]] std::uint64_t fingerprint() const override { return 0; }
  [[nodiscard]] std::optional<Extent> fixed_extent() const override { return extent_; }

 private:
  std::optional<Extent> extent_;
  std::int64_t channels_;
};

TEST(DefaultTransform, SuitsThePictures) {
  const auto cifar = default_transform(Shapes(Extent{32, 32}, 3), 0);
  EXPECT_EQ(cifar.image_size, 32);
  EXPECT_EQ(cifar.augment, Augment::pad_crop);
  EXPECT_TRUE(cifar.flip);
  const auto digits = default_transform(Shapes(Extent{28, 28}, 1), 0);
  EXPECT_EQ(digits.image_size, 28);
  EXPECT_FALSE(digits.flip);
  const auto photographs = default_transform(Shapes(std::nullopt, 3), 0);
  EXPECT_EQ(photographs.image_size, 224);
  EXPECT_EQ(photographs.augment, Augment::resized_crop);
  EXPECT_EQ(photographs.eval_view, EvalView::center_crop);
  EXPECT_EQ(default_transform(Shapes(std::nullopt, 3), 96).image_size, 96);
  EXPECT_EQ(default_transform(Shapes(Extent{500, 375}, 3), 0).augment, Augment::resized_crop);
}

}  // namespace
}  // namespace slicereduce
