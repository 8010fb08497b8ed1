#include "imagenet/image_folder_source.hpp"

#include <gtest/gtest.h>

#include "imagenet/decoder.hpp"
#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

class ImageFolderSourceTest : public ::testing::Test {
 protected:
  void write(const std::filesystem::path& name, const Bytes& bytes) const {
    write_file(folder_.path() / name, bytes);
  }
  void expect_opening_error(Split split, const std::string& part) const {
    expect_input_error([this, split] { ImageFolderSource(folder_.path(), split); }, part);
  }

  TemporaryFolder folder_;
  const Bytes jpeg_ = jpeg(smooth_image(20, 30, 3));
  const Bytes png_ = png(smooth_image(20, 30, 3));
};

TEST_F(ImageFolderSourceTest, NumbersClassesByNameAndListsFilesByName) {
  write("train/b/2.png", png_);
  write("train/b/1.JPEG", jpeg_);
  write("train/a/9.jpg", jpeg_);
  write("train/a/notes.txt", {'x'});
  write("train/a/._9.jpg", {'x'});
  const ImageFolderSource source(folder_.path(), Split::train);
  EXPECT_EQ(source.class_names(), (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(source.size(), 3);
  EXPECT_EQ(source.path(0), folder_.path() / "train/a/9.jpg");
  EXPECT_EQ(source.path(1), folder_.path() / "train/b/1.JPEG");
  EXPECT_EQ(source.label(0), 0);
  EXPECT_EQ(source.label(2), 1);
  EXPECT_EQ(load_image(source, 2).pixels, smooth_image(20, 30, 3).pixels);
}

TEST_F(ImageFolderSourceTest, ValidationIsValOrElseTest) {
  write("train/a/1.png", png_);
  write("test/a/1.png", png_);
  EXPECT_EQ(ImageFolderSource(folder_.path(), Split::validation).path(0), folder_.path() / "test/a/1.png");
  write("val/a/2.png", png_);
  EXPECT_EQ(ImageFolderSource(folder_.path(), Split::validation).path(0), folder_.path() / "val/a/2.png");
}

TEST_F(ImageFolderSourceTest, ValidationNeedsNoTrainingSet) {
  write("val/a/1.png", png_);
  EXPECT_EQ(ImageFolderSource(folder_.path(), Split::validation).num_classes(), 1);
  expect_opening_error(Split::train, "train/");
}

TEST_F(ImageFolderSourceTest, DifferentClassesAreAnErrorThatNamesOne) {
  write("train/apple/1.png", png_);
  write("train/pear/1.png", png_);
  write("val/apple/1.png", png_);
  expect_opening_error(Split::validation, "pear");
  write("val/pear/1.png", png_);
  write("val/quince/1.png", png_);
  expect_opening_error(Split::validation, "quince");
}

TEST_F(ImageFolderSourceTest, AClassWithoutPicturesIsAnErrorThatNamesIt) {
  write("train/apple/1.png", png_);
  write("train/pear/notes.txt", {'x'});
  expect_opening_error(Split::train, "train/pear");
}

TEST_F(ImageFolderSourceTest, ALinkToNothingIsAnErrorNotAPictureLess) {
  write("train/a/1.png", png_);
  std::filesystem::create_symlink("gone.png", folder_.path() / "train/a/2.png");
  const ImageFolderSource source(folder_.path(), Split::train);
  EXPECT_EQ(source.size(), 2);
  expect_input_error([&] { require_decodable_samples(source); }, "train/a/2.png");
}

TEST_F(ImageFolderSourceTest, APictureThatIsGoneIsNamedByTheFingerprint) {
  write("train/a/1.png", png_);
  const ImageFolderSource source(folder_.path(), Split::train);
  std::filesystem::remove(folder_.path() / "train/a/1.png");
  expect_input_error([&] { (void)source.fingerprint(); }, "train/a/1.png");
}

TEST_F(ImageFolderSourceTest, APngNamedJpegIsReadByItsContent) {
  write("train/a/1.JPEG", png_);
  EXPECT_EQ(load_image(ImageFolderSource(folder_.path(), Split::train), 0).pixels,
            smooth_image(20, 30, 3).pixels);
}

TEST_F(ImageFolderSourceTest, PicturesAndClassesMayBeLinks) {
  write("elsewhere/x.png", png_);
  std::filesystem::create_directory(folder_.path() / "train");
  std::filesystem::create_directory_symlink("../elsewhere", folder_.path() / "train/a");
  std::filesystem::create_symlink("x.png", folder_.path() / "elsewhere/y.png");
  const ImageFolderSource source(folder_.path(), Split::train);
  ASSERT_EQ(source.size(), 2);
  EXPECT_EQ(load_image(source, 1).extent(), (Extent{20, 30}));
}

TEST_F(ImageFolderSourceTest, EmptyAndMissingFoldersAreErrors) {
  expect_opening_error(Split::train, folder_.path().string());
  std::filesystem::create_directory(folder_.path() / "train");
  expect_opening_error(Split::train, "no class folders");
}

TEST_F(ImageFolderSourceTest, KnowsWhetherPicturesShareOneExtent) {
  write("train/a/1.png", png_);
  write("train/b/1.jpg", jpeg_);
  EXPECT_EQ(ImageFolderSource(folder_.path(), Split::train).fixed_extent(), (Extent{20, 30}));
  write("train/b/2.png", png(smooth_image(20, 31, 3)));
  EXPECT_EQ(ImageFolderSource(folder_.path(), Split::train).fixed_extent(), std::nullopt);
}

/// They may be skipped: that is for whoever reads them.
TEST_F(ImageFolderSourceTest, OpensWithPicturesThatCanNotBeDecoded) {
  write("train/a/1.png", {'x'});
  write("train/b/1.jpg", jpeg_);
  const ImageFolderSource source(folder_.path(), Split::train);
  EXPECT_EQ(source.fixed_extent(), (Extent{20, 30}));
  expect_input_error([&] { require_decodable_samples(source); }, "train/a/1.png");
  write("train/b/1.jpg", {'x'});
  EXPECT_EQ(ImageFolderSource(folder_.path(), Split::train).fixed_extent(), std::nullopt);
}

TEST_F(ImageFolderSourceTest, FingerprintSeesNamesSizesAndClasses) {
  const auto fingerprint = [this] { return ImageFolderSource(folder_.path(), Split::train).fingerprint(); };
  write("train/a/1.png", png_);
  write("train/b/1.png", png_);
  const auto before = fingerprint();
  EXPECT_EQ(fingerprint(), before);
  Bytes longer = png_;
  longer.push_back(0);
  write("train/b/1.png", longer);
  EXPECT_NE(fingerprint(), before);
  write("train/b/1.png", png_);
  EXPECT_EQ(fingerprint(), before);
  std::filesystem::rename(folder_.path() / "train/b/1.png", folder_.path() / "train/b/2.png");
  EXPECT_NE(fingerprint(), before);
  std::filesystem::rename(folder_.path() / "train/b/2.png", folder_.path() / "train/b/1.png");
  std::filesystem::rename(folder_.path() / "train/b", folder_.path() / "train/c");
  EXPECT_NE(fingerprint(), before);
}

TEST_F(ImageFolderSourceTest, ADamagedPictureIsNamed) {
  for (int i = 10; i < 42; ++i) {
    write("train/a/" + std::to_string(i) + ".jpg", jpeg_);
  }
  const ImageFolderSource source(folder_.path(), Split::train);
  write("train/a/23.jpg", Bytes(jpeg_.begin(), jpeg_.begin() + 300));
  expect_input_error([&] { (void)load_image(source, 13); }, "train/a/23.jpg");
}

}  // namespace
}  // namespace slicereduce
