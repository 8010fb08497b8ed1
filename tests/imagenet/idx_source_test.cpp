#include "imagenet/idx_source.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <cmath>

#include "imagenet/decoder.hpp"
#include "imagenet/normalization.hpp"
#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

class IdxSourceTest : public ::testing::Test {
 protected:
  void write(const std::string& images, const Bytes& image_bytes, const std::string& labels,
             const Bytes& label_bytes) const {
    write_file(folder_.path() / images, image_bytes);
    write_file(folder_.path() / labels, label_bytes);
  }
  void write_train(const Bytes& image_bytes, const Bytes& label_bytes) const {
    write("train-images-idx3-ubyte", image_bytes, "train-labels-idx1-ubyte", label_bytes);
  }
  [[nodiscard]] IdxSource open(Split split = Split::train) const { return {folder_.path(), split}; }
  void expect_opening_error(const std::string& part) const {
    expect_input_error([this] { (void)open(); }, part);
  }

  TemporaryFolder folder_;
  const Bytes pixels_{0, 1, 2, 3, 4, 5, 60, 61, 62, 63, 64, 65};
  const Bytes images_ = idx_images(2, 2, 3, pixels_);
  const Bytes labels_ = idx_labels({7, 9});
};

TEST_F(IdxSourceTest, ReadsPicturesAndLabels) {
  write_train(images_, labels_);
  const IdxSource source = open();
  EXPECT_EQ(source.size(), 2);
  EXPECT_EQ(source.num_classes(), 10);
  EXPECT_EQ(source.fixed_extent(), (Extent{2, 3}));
  EXPECT_EQ(source.label(1), 9);
  const Image image = load_image(source, 1);
  EXPECT_EQ(image.extent(), (Extent{2, 3}));
  EXPECT_EQ(image.channels, 1);
  EXPECT_EQ(image.pixels, (Bytes{60, 61, 62, 63, 64, 65}));
}

TEST_F(IdxSourceTest, GzipHoldsTheSame) {
  write_train(images_, labels_);
  write("t10k-images-idx3-ubyte.gz", gzip(images_), "t10k-labels-idx1-ubyte.gz", gzip(labels_));
  const IdxSource source = open(Split::validation);
  EXPECT_EQ(load_image(source, 0).pixels, (Bytes{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(source.fingerprint(), open().fingerprint());
}

TEST_F(IdxSourceTest, FingerprintSeesOnePixelAndOneLabel) {
  write_train(images_, labels_);
  const auto before = open().fingerprint();
  Bytes other = pixels_;
  other[5] ^= 1;
  write_train(idx_images(2, 2, 3, other), labels_);
  EXPECT_NE(open().fingerprint(), before);
  write_train(images_, idx_labels({7, 8}));
  EXPECT_NE(open().fingerprint(), before);
}

TEST_F(IdxSourceTest, EveryTruncationIsAnErrorThatNamesTheFile) {
  for (std::size_t size = 0; size < images_.size(); ++size) {
    write_train(Bytes(images_.begin(), images_.begin() + static_cast<std::ptrdiff_t>(size)), labels_);
    SCOPED_TRACE(size);
    expect_opening_error("train-images-idx3-ubyte");
  }
}

TEST_F(IdxSourceTest, EveryGzipTruncationIsAnError) {
  const Bytes whole = gzip(images_);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write("train-images-idx3-ubyte.gz",
          Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)), "train-labels-idx1-ubyte",
          labels_);
    SCOPED_TRACE(size);
    expect_opening_error("train-images-idx3-ubyte.gz");
  }
}

TEST_F(IdxSourceTest, AWrongGzipChecksumIsAnError) {
  Bytes damaged = gzip(images_);
  damaged[damaged.size() - 6] ^= 0xFF;
  write("train-images-idx3-ubyte.gz", damaged, "train-labels-idx1-ubyte", labels_);
  expect_opening_error("train-images-idx3-ubyte.gz");
}

TEST_F(IdxSourceTest, HugeLengthsAreRefusedBeforeMemoryIsTaken) {
  write_train(idx_images(0xFFFFFFFF, 0x7FFF, 0x7FFF, pixels_), labels_);
  expect_opening_error("can hold");
  write_train(idx_images(2, 0xFFFFFFFF, 0xFFFFFFFF, pixels_), labels_);
  expect_opening_error("header announces");
}

TEST_F(IdxSourceTest, MemoryGrowsWithWhatIsThereNotWithWhatTheHeaderAnnounces) {
  // 8 MB of zip file that claims 6 GB, which deflate's greatest ratio would allow.
  Bytes noise = noise_image(2048, 4096, 1, 1).pixels;
  write("train-images-idx3-ubyte.gz", gzip(idx_images(6'000'000, 32, 32, noise)), "train-labels-idx1-ubyte",
        labels_);
  const auto peak_kib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const auto before = peak_kib();
  expect_opening_error("train-images-idx3-ubyte.gz");
  EXPECT_LT(peak_kib() - before, 256 * 1024);
}

TEST_F(IdxSourceTest, OtherFormatsAndRestsAreErrors) {
  write_train(labels_, labels_);
  expect_opening_error("no IDX file");
  Bytes longer = images_;
  longer.push_back(1);
  write_train(longer, labels_);
  expect_opening_error("after its last item");
}

TEST_F(IdxSourceTest, LabelsMustFitThePicturesAndTheClasses) {
  write_train(images_, idx_labels({1}));
  expect_opening_error("1 labels for 2 pictures");
  write_train(images_, idx_labels({1, 10}));
  expect_opening_error("label 1 is 10");
}

TEST_F(IdxSourceTest, AMissingFileIsNamed) {
  expect_opening_error("train-images-idx3-ubyte");
  write_file(folder_.path() / "train-images-idx3-ubyte", images_);
  expect_opening_error("train-labels-idx1-ubyte");
}

TEST(FashionMnist, DebiansPackageHasTheStatisticsThatAreBuiltIn) {
  const std::filesystem::path folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) {
    GTEST_SKIP() << "needs Debian's dataset-fashion-mnist package";
  }
  const IdxSource train(folder, Split::train);
  ASSERT_EQ(train.size(), 60'000);
  ASSERT_EQ(train.fixed_extent(), (Extent{28, 28}));
  std::array<int, 10> per_class{};
  double sum = 0;
  double sum_of_squares = 0;
  for (std::int64_t i = 0; i < train.size(); ++i) {
    ++per_class.at(static_cast<std::size_t>(train.label(i)));
    for (const double pixel : load_image(train, i).pixels) {
      sum += pixel / 255;
      sum_of_squares += pixel * pixel / (255 * 255);
    }
  }
  EXPECT_EQ(per_class, (std::array<int, 10>{6000, 6000, 6000, 6000, 6000, 6000, 6000, 6000, 6000, 6000}));
  const double pixels = 60'000.0 * 28 * 28;
  const double mean = sum / pixels;
  const Normalization built_in = fashion_mnist_normalization();
  EXPECT_NEAR(mean, built_in.mean[0], 5e-5);  // four digits are given
  EXPECT_NEAR(std::sqrt(sum_of_squares / pixels - mean * mean), built_in.std[0], 5e-5);
  EXPECT_EQ(IdxSource(folder, Split::validation).size(), 10'000);
}

}  // namespace
}  // namespace slicereduce
