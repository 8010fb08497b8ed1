#include "imagenet/webdataset_source.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "core/error.hpp"
#include "core/text.hpp"
#include "imagenet/decoder.hpp"
#include "imagenet/open_dataset.hpp"
#include "tests/imagenet/shard_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

class WebDatasetSourceTest : public ::testing::Test {
 protected:
  void write(const std::filesystem::path& name, const Bytes& bytes) const {
    write_file(folder_.path() / name, bytes);
  }
  /// 23 samples of 7 classes.
  void write_shards() const {
    write("train-0.tar", tar(noise_samples(0, 10, 7)));
    write("train-1.tar", tar(noise_samples(10, 1, 7), TarForm::gnu));
    write("train-2.tar", tar(noise_samples(11, 12, 7), TarForm::pax));
  }
  [[nodiscard]] std::vector<std::filesystem::path> shards() const {
    return shards_in(folder_.path(), Split::train);
  }
  void expect_refusal(const std::string& part) const {
    expect_input_error(
        [this] {
          const WebDatasetSource source(shards());
          for (std::int64_t i = 0; i < source.size(); ++i) {
            (void)source.label(i);
            (void)load_image(source, i);
          }
        },
        part);
  }

  TemporaryFolder folder_;
};

TEST_F(WebDatasetSourceTest, ReadsWhatWasWritten) {
  write_shards();
  for (const char* how : {"without indices", "with them"}) {
    SCOPED_TRACE(how);
    const WebDatasetSource source(shards());
    ASSERT_EQ(source.size(), 23);
    EXPECT_EQ(source.num_classes(), 7);
    EXPECT_FALSE(source.fixed_extent());
    for (std::int64_t i = 0; i < source.size(); ++i) {
      EXPECT_EQ(source.label(i), i % 7);
      EXPECT_EQ(load_image(source, i).pixels,
                noise_image(70 + i % 3, 80, 3, static_cast<std::uint64_t>(i)).pixels);
    }
    EXPECT_EQ(source.name(12), concat("set/1012.png in ", (folder_.path() / "train-2.tar").string()));
    EXPECT_TRUE(std::filesystem::exists(folder_.path() / "train-2.idx"));
  }
}

TEST_F(WebDatasetSourceTest, SeveralThreadsReadAtOnce) {
  write_shards();
  const WebDatasetSource source(shards());
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&source] {
      StoredImage stored;
      for (std::int64_t i = 0; i < source.size(); ++i) {
        source.read(i, stored);
        const Bytes expected = noise_samples(i, 1, 7)[1].bytes;
        const auto* first = reinterpret_cast<const std::uint8_t*>(stored.file.data());
        EXPECT_EQ(Bytes(first, first + stored.file.size()), expected);
      }
    });
  }
}

TEST_F(WebDatasetSourceTest, IsFoundByNameOrFolderOrPattern) {
  write_shards();
  write("val/a.tar", tar(noise_samples(0, 2, 7)));
  const auto open = [this](const std::string& path, Split split) {
    return open_dataset(DatasetKind::automatic, folder_.path() / path, split)->size();
  };
  EXPECT_EQ(open("", Split::train), 23);
  EXPECT_EQ(open("", Split::validation), 2);
  EXPECT_EQ(open("train-{0..1}.tar", Split::validation), 11);
  EXPECT_EQ(open("train-2.tar", Split::train), 12);
  expect_input_error([&] { (void)open("train-{0..3}.tar", Split::train); }, "train-3.tar");
  expect_input_error([&] { (void)open("val", Split::train); }, "no dataset was recognized");
  write("train/cat/1.png", png(noise_image(70, 80, 3, 1)));
  expect_input_error([&] { (void)open("", Split::train); }, "say which to take");
}

TEST_F(WebDatasetSourceTest, ClassesAreThoseOfTheListWhereThereIsOne) {
  write_shards();
  write("classes.txt", bytes_of("a\nb\nc\nd\ne\nf\ng\nh\n"));
  EXPECT_EQ(WebDatasetSource(shards()).num_classes(), 8);
  write("classes.txt", bytes_of("a\nb\n"));
  expect_refusal("is 2, but classes.txt has 2 classes");
}

TEST_F(WebDatasetSourceTest, LabelsAreNumbers) {
  for (const std::string& label :
       std::vector<std::string>{"", "x", "-1", "1.5", "1 2", "99999999999999999999", std::string(40, '1')}) {
    auto samples = noise_samples(0, 2, 7);
    samples[2].bytes = bytes_of(label);
    write("train.tar", tar(samples));
    std::filesystem::remove(folder_.path() / "train.idx");
    expect_refusal("the label of set/1001.png in ");
  }
  auto samples = noise_samples(0, 2, 7);
  samples[2].bytes = bytes_of("5\n");
  std::filesystem::remove(folder_.path() / "train.idx");
  write("train.tar", tar(samples));
  EXPECT_EQ(WebDatasetSource(shards()).label(1), 5);
}

TEST_F(WebDatasetSourceTest, AnIndexThatDoesNotFitIsNamedAndMayBeRemoved) {
  write_shards();
  (void)WebDatasetSource(shards());
  write("train-1.tar", tar(noise_samples(3, 9, 7)));  // another one
  write("train-0.tar", tar({}));
  expect_refusal("train-0.idx: line ");
  write("train-0.tar", tar(noise_samples(0, 10, 7)));
  write("train-1.idx", bytes_of("v1.2 1\njpg 1024 1 a.jpg cls 0 1 a.cls\n"));
  expect_refusal("train-1.idx: it does not fit its shard");
  write("train-1.idx", bytes_of("v1.2 1\njpg 512 9999999 a.jpg cls 0 1 a.cls\n"));
  expect_refusal("remove it to have it made anew");
  std::filesystem::remove(folder_.path() / "train-1.idx");
  EXPECT_EQ(WebDatasetSource(shards()).size(), 31);
}

TEST_F(WebDatasetSourceTest, AnIndexThatCannotBeKeptIsAWarning) {
  // The name of the file that becomes the index is longer than file systems allow.
  write(concat("train", std::string(245, '0'), ".tar"), tar(noise_samples(0, 4, 7)));
  std::string told;
  const WebDatasetSource source(shards(), [&told](const std::string& what) { told += what; });
  EXPECT_EQ(source.size(), 4);
  EXPECT_NE(told.find("was made, but can't be kept: "), std::string::npos) << told;
}

TEST_F(WebDatasetSourceTest, TheFingerprintTellsShardsApart) {
  write_shards();
  const auto of_all = WebDatasetSource(shards()).fingerprint();
  EXPECT_EQ(WebDatasetSource(shards()).fingerprint(), of_all);
  const auto fewer = shards();
  EXPECT_NE(WebDatasetSource({fewer[0], fewer[1]}).fingerprint(), of_all);
}

}  // namespace
}  // namespace slicereduce
