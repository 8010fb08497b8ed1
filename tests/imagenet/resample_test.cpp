#include "imagenet/resample.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>

#include "core/error.hpp"
#include "tests/imagenet/dataset_files.hpp"

namespace {

thread_local std::int64_t allocations = 0;

}  // namespace

// Of the whole program; only this file asks for the count.
void* operator new(std::size_t size) {
  ++allocations;
  if (void* const memory = std::malloc(size)) {
    return memory;
  }
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace slicereduce {
namespace {

using namespace dataset_files;

struct Case {
  std::string name;
  Extent picture;
  FractionalBox box;
  Extent target;
};

std::vector<Case> cases() {
  return {{"smaller", {41, 59}, {0, 0, 41, 59}, {16, 23}},
          {"little smaller", {41, 59}, {0, 0, 41, 59}, {40, 50}},
          {"larger", {9, 11}, {0, 0, 9, 11}, {24, 37}},
          {"larger across, smaller down", {200, 11}, {0, 0, 200, 11}, {24, 37}},
          {"as it is", {33, 47}, {0, 0, 33, 47}, {33, 47}},
          {"within, to the pixel", {41, 59}, {5, 7, 30, 40}, {16, 16}},
          {"within pixels", {41, 59}, {5.3, 7.9, 30.25, 40.5}, {16, 16}},
          {"fractional, in the corner", {41, 59}, {0.7, 0.1, 3.5, 2.4}, {16, 17}},
          {"fractional, to the other corner", {41, 59}, {37.5, 51.25, 3.5, 7.75}, {16, 17}},
          {"less than a pixel", {5, 5}, {2.25, 4.5, 0.5, 0.25}, {3, 6}},
          {"one pixel", {1, 1}, {0, 0, 1, 1}, {5, 7}},
          {"to one pixel", {41, 59}, {0, 0, 41, 59}, {1, 1}},
          {"one line", {1, 59}, {0, 0, 1, 59}, {8, 8}},
          {"one column", {59, 1}, {0, 0, 59, 1}, {8, 9}},
          {"to a line", {20, 300}, {0, 0, 20, 300}, {1, 224}},
          {"hugely smaller", {500, 700}, {0, 0, 500, 700}, {3, 2}},
          {"hugely smaller across", {2, 20000}, {0, 0, 2, 20000}, {2, 3}}};
}

/// Lines have bytes between them that belong to no picture.
PixelView with_stride(const Image& image, Bytes& memory) {
  const std::int64_t row = image.width * image.channels;
  const std::int64_t stride = row + 5;
  memory.assign(static_cast<std::size_t>(image.height * stride), 255);
  for (std::int64_t y = 0; y < image.height; ++y) {
    std::copy_n(image.pixels.begin() + y * row, row, memory.begin() + y * stride);
  }
  return {memory.data(), image.extent(), image.channels, stride};
}

// The definition: output i looks at the triangle of half-width max(scale, 1) around its middle.
std::vector<double> triangle_weights(double start, double length, std::int64_t size, std::int64_t outputs,
                                     std::int64_t i) {
  const double scale = length / static_cast<double>(outputs);
  const double centre = start + (static_cast<double>(i) + 0.5) * scale;
  std::vector<double> weights(static_cast<std::size_t>(size));
  double sum = 0;
  for (std::int64_t j = 0; j < size; ++j) {
    const double distance = std::abs(static_cast<double>(j) + 0.5 - centre) / std::max(scale, 1.0);
    sum += weights[static_cast<std::size_t>(j)] = std::max(0.0, 1 - distance);
  }
  for (double& weight : weights) {
    weight /= sum;
  }
  return weights;
}

/// [height, width, channels] of the target.
std::vector<double> reference(const Image& image, const FractionalBox& box, Extent target) {
  const auto row_numel = static_cast<std::size_t>(image.width * image.channels);
  std::vector<double> values;
  for (std::int64_t y = 0; y < target.height; ++y) {
    const auto rows = triangle_weights(box.top, box.height, image.height, target.height, y);
    std::vector<double> line(row_numel);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::size_t at = 0; at < row_numel; ++at) {
        line[at] += rows[i] * image.pixels[i * row_numel + at];
      }
    }
    for (std::int64_t x = 0; x < target.width; ++x) {
      const auto columns = triangle_weights(box.left, box.width, image.width, target.width, x);
      for (std::int64_t c = 0; c < image.channels; ++c) {
        double value = 0;
        for (std::int64_t j = 0; j < image.width; ++j) {
          value +=
              columns[static_cast<std::size_t>(j)] * line[static_cast<std::size_t>(j * image.channels + c)];
        }
        values.push_back(value);
      }
    }
  }
  return values;
}

/// How far values may be from exact ones. Weights are rounded such that each sum of the first k is within
/// half a unit, so a value is off by at most that times the differences between neighbouring pixels, 255 at
/// most; lines between the passes are rounded to 1/128 of a level, values to whole levels.
double tolerance(const FractionalBox& box, Extent target) {
  const auto steps = [](double side, std::int64_t outputs) {
    return 2 * std::ceil(std::max(1.0, side / static_cast<double>(outputs))) - 1;
  };
  const double weights =
      0.5 / FilterAxis::kOne * 255 * (steps(box.height, target.height) + steps(box.width, target.width));
  return 0.5 + std::min(weights, 1.0) + 1.0 / 256 + 1e-9;
}

Bytes resampled(Resampler& resampler, const Region& region, Extent target, bool is_mirrored = false) {
  Bytes out(static_cast<std::size_t>(target.height * target.width * region.pixels.channels), 77);
  resampler.resample(region, target, is_mirrored, out);
  return out;
}

void for_each_case(const std::function<void(const Case&, const Image&)>& check) {
  std::uint64_t seed = 0;
  for (const Case& c : cases()) {
    for (const std::int64_t channels : {1, 3}) {
      SCOPED_TRACE(c.name + ", channels " + std::to_string(channels));
      check(c, noise_image(c.picture.height, c.picture.width, channels, ++seed));
    }
  }
}

TEST(Resampler, IsTheAntialiasedBilinearFilter) {
  Resampler resampler;
  for_each_case([&](const Case& c, const Image& image) {
    Bytes memory;
    const Bytes actual = resampled(resampler, {with_stride(image, memory), c.box}, c.target);
    const std::vector<double> expected = reference(image, c.box, c.target);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], tolerance(c.box, c.target)) << i;
    }
  });
}

TEST(Resampler, PortableCodeGivesTheSameBits) {
  Resampler best;
  Resampler portable(Resampler::Code::portable);
  for_each_case([&](const Case& c, const Image& image) {
    const Region region{PixelView::of(image), c.box};
    EXPECT_EQ(resampled(best, region, c.target), resampled(portable, region, c.target));
  });
}

TEST(Resampler, MirroredIsTheMirrorImage) {
  for (const auto code : {Resampler::Code::portable, Resampler::best_code()}) {
    Resampler resampler(code);
    for_each_case([&](const Case& c, const Image& image) {
      const Region region{PixelView::of(image), c.box};
      const Bytes straight = resampled(resampler, region, c.target);
      const Bytes mirrored = resampled(resampler, region, c.target, true);
      const std::int64_t channels = image.channels;
      for (std::int64_t pixel = 0; pixel < c.target.height * c.target.width; ++pixel) {
        const std::int64_t x = pixel % c.target.width;
        const std::int64_t other = pixel - x + c.target.width - 1 - x;
        ASSERT_TRUE(std::equal(straight.begin() + pixel * channels, straight.begin() + (pixel + 1) * channels,
                               mirrored.begin() + other * channels));
      }
    });
  }
}

TEST(Resampler, BlackAndWhiteStayWhatTheyAre) {
  Resampler resampler;
  for_each_case([&](const Case& c, Image image) {
    for (const std::uint8_t level : {0, 255}) {
      std::fill(image.pixels.begin(), image.pixels.end(), level);
      const Bytes out = resampled(resampler, {PixelView::of(image), c.box}, c.target);
      EXPECT_EQ(out, Bytes(out.size(), level));
    }
  });
}

TEST(Resampler, LeavesAPictureOfTheRightSizeAsItIs) {
  const Image image = noise_image(32, 33, 3, 5);
  Resampler resampler;
  EXPECT_EQ(
      resampled(resampler, {PixelView::of(image), FractionalBox::whole(image.extent())}, image.extent()),
      image.pixels);
}

TEST(Resampler, OfACropItSeesNothingAroundIt) {
  Image image = noise_image(30, 40, 3, 6);
  Resampler resampler;
  const CropBox crop{7, 9, 12, 20};
  const Bytes before = resampled(resampler, Region::cropped(image, crop), {8, 9});
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) {
      const bool inside = y >= 7 && y < 19 && x >= 9 && x < 29;
      if (!inside) {
        std::fill_n(image.pixels.begin() + (y * image.width + x) * 3, 3, std::uint8_t{0});
      }
    }
  }
  EXPECT_EQ(resampled(resampler, Region::cropped(image, crop), {8, 9}), before);
}

TEST(Resampler, WritesItsOwnRowOnly) {
  // Rows lie side by side in a batch, and other threads write to the neighbours.
  constexpr std::size_t kMargin = 64;
  Resampler resampler;
  for (const std::int64_t channels : {1, 3}) {
    const Image image = noise_image(33, 47, channels, 11);
    for (std::int64_t side = 1; side <= 40; ++side) {
      const auto row_bytes = static_cast<std::size_t>(side * side * channels);
      Bytes buffer(row_bytes + 2 * kMargin, 77);
      resampler.resample(Region::cropped(image, {0, 0, 33, 47}), {side, side}, false,
                         std::span(buffer).subspan(kMargin, row_bytes));
      const auto untouched = [](std::uint8_t byte) { return byte == 77; };
      EXPECT_TRUE(std::all_of(buffer.begin(), buffer.begin() + kMargin, untouched)) << side;
      EXPECT_TRUE(std::all_of(buffer.end() - kMargin, buffer.end(), untouched)) << side;
    }
  }
}

TEST(Resampler, AllocatesNothingOnceWarm) {
  const Image large = noise_image(300, 400, 3, 12);
  Bytes out(64 * 64 * 3);
  Resampler resampler;
  resampler.resample(Region::cropped(large, {0, 0, 300, 400}), {64, 64}, false, out);
  const std::int64_t before = allocations;
  resampler.resample(Region::cropped(large, {20, 10, 30, 40}), {64, 64}, true, out);
  resampler.resample(Region::cropped(large, {0, 0, 300, 400}), {64, 64}, true, out);
  EXPECT_EQ(allocations, before);
  Resampler().resample(Region::cropped(large, {0, 0, 300, 400}), {64, 64}, true, out);
  EXPECT_GT(allocations, before);
}

TEST(Resampler, RefusesWhatDoesNotFit) {
  const Image image = noise_image(10, 10, 3, 13);
  const auto view = PixelView::of(image);
  Bytes out(4 * 4 * 3);
  Resampler resampler;
  EXPECT_THROW(resampler.resample({view, {0, 0.5, 10, 10}}, {4, 4}, false, out), Error);
  EXPECT_THROW(resampler.resample({view, {0, 0, 10, 0}}, {4, 4}, false, out), Error);
  EXPECT_THROW(resampler.resample({view, {0, 0, 10, 10}}, {4, 5}, false, out), Error);
  const Image two = noise_image(10, 10, 2, 13);
  EXPECT_THROW(resampler.resample(Region::cropped(two, {0, 0, 10, 10}), {4, 6}, false, out), Error);
}

}  // namespace
}  // namespace slicereduce
