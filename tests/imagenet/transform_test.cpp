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
  write_varied_view(image, variation.box, variation, config, row);
  return row;
}

Bytes evaluation_view(const Image& image, const TransformConfig& config) {
  Bytes row = row_for(config.image_size, image.channels);
  Image scaled;
  write_evaluation_view(image, config, scaled, row);
  return row;
}

// The definition of an antialiased bilinear filter, in double: output pixel i looks at the triangle of
// half-width max(scale, 1) around (i + 0.5) * scale.
std::vector<double> triangle_weights(std::int64_t in, std::int64_t out, std::int64_t i) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double width = std::max(scale, 1.0);
  std::vector<double> weights(static_cast<std::size_t>(in));
  double sum = 0;
  for (std::int64_t j = 0; j < in; ++j) {
    const double distance =
        std::abs(static_cast<double>(j) + 0.5 - (static_cast<double>(i) + 0.5) * scale) / width;
    weights[static_cast<std::size_t>(j)] = std::max(0.0, 1 - distance);
    sum += weights[static_cast<std::size_t>(j)];
  }
  for (auto& weight : weights) {
    weight /= sum;
  }
  return weights;
}

double reference_pixel(const Image& image, const CropBox& box, Extent out, std::int64_t y, std::int64_t x,
                       std::int64_t channel) {
  const auto rows = triangle_weights(box.height, out.height, y);
  const auto columns = triangle_weights(box.width, out.width, x);
  double value = 0;
  for (std::int64_t i = 0; i < box.height; ++i) {
    for (std::int64_t j = 0; j < box.width; ++j) {
      const auto at = ((box.top + i) * image.width + box.left + j) * image.channels + channel;
      value += rows[static_cast<std::size_t>(i)] * columns[static_cast<std::size_t>(j)] *
               image.pixels[static_cast<std::size_t>(at)];
    }
  }
  return value;
}

// Two passes, each rounding weights to 8 bits or more and results to whole levels: half a level from each
// rounding, and the weights' error below that.
constexpr double kResizeTolerance = 1.5;

void expect_resized(const Image& image, const CropBox& box, std::int64_t image_size) {
  Bytes row = row_for(image_size, image.channels);
  resize_box(image, box, image_size, row);
  for (std::int64_t y = 0; y < image_size; ++y) {
    for (std::int64_t x = 0; x < image_size; ++x) {
      for (std::int64_t c = 0; c < image.channels; ++c) {
        const auto at = static_cast<std::size_t>((y * image_size + x) * image.channels + c);
        ASSERT_NEAR(row[at], reference_pixel(image, box, {image_size, image_size}, y, x, c), kResizeTolerance)
            << y << ' ' << x << ' ' << c;
      }
    }
  }
}

TEST(ResizeBox, IsTheAntialiasedBilinearFilter) {
  const Image image = noise_image(41, 59, 3, 1);
  expect_resized(image, {0, 0, 41, 59}, 16);   // smaller
  expect_resized(image, {5, 7, 30, 40}, 16);   // from within
  expect_resized(image, {20, 30, 9, 11}, 24);  // larger
  expect_resized(image, {3, 0, 1, 59}, 8);     // one row
  expect_resized(noise_image(28, 28, 1, 2), {0, 0, 28, 28}, 20);
  expect_resized(noise_image(28, 28, 1, 2), {0, 0, 28, 28}, 32);
}

TEST(ResizeBox, CopiesABoxThatFits) {
  const Image image = noise_image(9, 9, 3, 3);
  Bytes row = row_for(2, 3);
  resize_box(image, {4, 5, 2, 2}, 2, row);
  for (std::size_t y = 0; y < 2; ++y) {
    for (std::size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(row[y * 6 + i], image.pixels[((4 + y) * 9 + 5) * 3 + i]);
    }
  }
}

TEST(ResizeBox, WritesItsOwnRowOnly) {
  // Rows lie side by side in a batch, and other threads write to the neighbours.
  constexpr std::size_t kMargin = 64;
  for (const std::int64_t channels : {1, 3}) {
    const Image image = noise_image(33, 47, channels, 11);
    for (std::int64_t side = 1; side <= 40; ++side) {
      const auto row_bytes = static_cast<std::size_t>(side * side * channels);
      Bytes buffer(row_bytes + 2 * kMargin, 77);
      resize_box(image, {0, 0, 33, 47}, side, std::span(buffer).subspan(kMargin, row_bytes));
      const auto untouched = [](std::uint8_t byte) { return byte == 77; };
      EXPECT_TRUE(std::all_of(buffer.begin(), buffer.begin() + kMargin, untouched)) << side;
      EXPECT_TRUE(std::all_of(buffer.end() - kMargin, buffer.end(), untouched)) << side;
    }
  }
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

TEST(EvaluationView, PhotographsAreResizedAndCroppedInTheMiddle) {
  // 28 * 256 / 224 = 32: the 60 x 90 picture becomes 32 x 48, of which rows 2.. and columns 10.. remain.
  const Image image = noise_image(60, 90, 3, 9);
  const Bytes row = evaluation_view(image, {.image_size = 28});
  for (std::int64_t y = 0; y < 28; ++y) {
    for (std::int64_t x = 0; x < 28; ++x) {
      ASSERT_NEAR(row[static_cast<std::size_t>((y * 28 + x) * 3)],
                  reference_pixel(image, {0, 0, 60, 90}, {32, 48}, y + 2, x + 10, 0), kResizeTolerance);
    }
  }
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
