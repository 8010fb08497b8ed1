#include "imagenet/pack.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/error.hpp"
#include "core/text.hpp"
#include "imagenet/decoder.hpp"
#include "imagenet/image_folder_source.hpp"
#include "imagenet/webdataset_source.hpp"
#include "tests/imagenet/shard_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

class PackTest : public ::testing::Test {
 protected:
  PackTest() {
    for (int i = 0; i < 11; ++i) {
      const Image image = smooth_image(90 + i, 120 - i, 3);
      const auto name = concat("train/", i % 3, "/picture.", i);
      write_file(folder_.path() / (name + ".JPEG"), i == 4 ? png(image) : jpeg(image));
    }
  }

  [[nodiscard]] ImageFolderSource source() const { return {folder_.path(), Split::train}; }
  /// What is in a folder of shards afterwards, by the files' names.
  std::map<std::string, Bytes> packed(const std::string& name, const PackConfig& config,
                                      Packed* result = nullptr) {
    const auto out = folder_.path() / name;
    std::filesystem::create_directories(out);
    const PackReport report{.on_shard = [](const std::string&) {},
                            .on_bad_image = [this](const std::string& why) { told_ += why; }};
    const Packed done = pack(source(), out, "train", config, report);
    if (result != nullptr) {
      *result = done;
    }
    std::map<std::string, Bytes> files;
    for (const auto& entry : std::filesystem::directory_iterator(out)) {
      const auto bytes = read_whole(entry.path());
      const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
      files[entry.path().filename().string()] = {first, first + bytes.size()};
    }
    return files;
  }
  [[nodiscard]] WebDatasetSource shards(const std::string& name) const {
    return WebDatasetSource(shards_in(folder_.path() / name, Split::train));
  }

  TemporaryFolder folder_;
  std::string told_;
};

PackConfig config_of(int threads) { return {.per_shard = 4, .threads = threads}; }

TEST_F(PackTest, KeepsEveryByteAndLabel) {
  PackConfig config = config_of(2);
  config.shuffled = false;
  Packed result;
  const auto files = packed("out", config, &result);
  EXPECT_EQ(files.size(), 6U);
  EXPECT_EQ(result.shards, 3);
  EXPECT_EQ(result.images, 11);
  const ImageFolderSource from = source();
  const WebDatasetSource to = shards("out");
  ASSERT_EQ(to.size(), from.size());
  StoredImage a;
  StoredImage b;
  for (std::int64_t i = 0; i < to.size(); ++i) {
    from.read(i, a);
    to.read(i, b);
    EXPECT_EQ(a.file, b.file);
    EXPECT_EQ(to.label(i), from.label(i));
    const bool is_png = i == 6;  // picture.4, behind picture.1 and picture.10
    EXPECT_EQ(to.name(i).substr(0, to.name(i).find(' ')),
              concat("000000", i / 10, i % 10, "_", from.path(i).stem().string().replace(7, 1, "_"),
                     is_png ? ".png" : ".jpg"));
  }
}

TEST_F(PackTest, TheSamePicturesMakeTheSameBytesWhateverTheThreads) {
  const auto files = packed("one", config_of(1));
  EXPECT_EQ(packed("three", config_of(3)), files);
  std::multiset<std::int64_t> labels;
  const WebDatasetSource to = shards("one");
  for (std::int64_t i = 0; i < to.size(); ++i) {
    labels.insert(to.label(i));
  }
  EXPECT_EQ(labels, (std::multiset<std::int64_t>{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2}));
}

TEST_F(PackTest, WhatWasVerifiedIsNotWrittenAgain) {
  const auto files = packed("out", config_of(2));
  const auto out = folder_.path() / "out";
  std::filesystem::remove(out / "train-000001.idx");  // as if it was stopped before
  std::filesystem::remove(out / "train-000002.idx");
  std::filesystem::remove(out / "train-000002.tar");
  Packed result;
  EXPECT_EQ(packed("out", config_of(2), &result), files);
  EXPECT_EQ(result.kept, 1);
  EXPECT_EQ(result.images, 11);
}

TEST_F(PackTest, ShrinksToTheSideThatWasAskedFor) {
  PackConfig by_short = config_of(2);
  by_short.short_side = 95;
  by_short.shuffled = false;
  packed("short", by_short);
  PackConfig by_max = config_of(2);
  by_max.max_side = 60;
  by_max.shuffled = false;
  packed("max", by_max);
  for (std::int64_t i = 0; i < source().size(); ++i) {
    const Extent whole = load_image(source(), i).extent();
    const Image small = load_image(shards("short"), i);
    if (std::min(whole.height, whole.width) <= 95) {
      EXPECT_EQ(small.extent(), whole);
    } else {
      EXPECT_EQ(std::min(small.height, small.width), 95);
    }
    const Image smaller = load_image(shards("max"), i);
    EXPECT_EQ(std::max(smaller.height, smaller.width), 60);
    EXPECT_NEAR(static_cast<double>(smaller.width) / static_cast<double>(smaller.height),
                static_cast<double>(whole.width) / static_cast<double>(whole.height), 0.02);
    // A ramp stays one: its middle has the mean of its ends.
    const auto at = [&](const Image& image, std::int64_t y, std::int64_t x) {
      return image.pixels[static_cast<std::size_t>((y * image.width + x) * 3)];
    };
    const Image original = load_image(source(), i);
    EXPECT_NEAR(at(smaller, smaller.height / 2, smaller.width / 2),
                at(original, whole.height / 2, whole.width / 2), 8);
  }
}

TEST_F(PackTest, BadPicturesAreNamedOrLeftOut) {
  write_file(folder_.path() / "train/1/bad.jpg", {'x'});
  expect_input_error([&] { packed("stops", config_of(2)); }, "train/1/bad.jpg: it is neither JPEG nor PNG");
  PackConfig config = config_of(2);
  config.bad_images = BadImages::skip;
  Packed result;
  packed("goes-on", config, &result);
  EXPECT_EQ(result.images, 11);
  EXPECT_EQ(result.skipped, 1);
  EXPECT_NE(told_.find("train/1/bad.jpg"), std::string::npos);
  EXPECT_EQ(shards("goes-on").size(), 11);
}

TEST_F(PackTest, AShardWithoutAGoodPictureIsLeftOut) {
  write_file(folder_.path() / "train/1/bad.jpg", {'x'});
  PackConfig config = config_of(2);
  config.per_shard = 1;
  config.bad_images = BadImages::skip;
  for (int time = 0; time < 2; ++time) {
    Packed result;
    packed("goes-on", config, &result);
    EXPECT_EQ(result.shards, 11);
    EXPECT_EQ(result.kept, time * 11);
    EXPECT_EQ(result.skipped, 1);
  }
  EXPECT_EQ(shards("goes-on").size(), 11);
  for (int i = 0; i < 11; ++i) {
    write_file(folder_.path() / concat("train/", i % 3, "/picture.", i, ".JPEG"), {'x'});
  }
  expect_input_error([&] { packed("nothing", config); }, "none of the 12 pictures");
}

TEST(PackConfig, RefusesWhatCannotBe) {
  for (const PackConfig& config :
       {PackConfig{.max_side = -1}, PackConfig{.short_side = 1 << 17},
        PackConfig{.max_side = 1, .short_side = 1}, PackConfig{.quality = 0}, PackConfig{.quality = 101},
        PackConfig{.per_shard = 0}, PackConfig{.threads = 0}}) {
    EXPECT_THROW(config.validate(), Error);
  }
}

}  // namespace
}  // namespace slicereduce
