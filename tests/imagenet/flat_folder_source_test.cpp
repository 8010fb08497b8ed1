#include "imagenet/flat_folder_source.hpp"

#include <gtest/gtest.h>

#include "imagenet/decoder.hpp"
#include "imagenet/open_dataset.hpp"
#include "tests/imagenet/shard_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

class FlatFolderSourceTest : public ::testing::Test {
 protected:
  FlatFolderSourceTest() {
    for (std::int64_t i = 1; i <= 3; ++i) {
      write_file(folder_.path() / "val" / ("ILSVRC2012_val_0000000" + std::to_string(i) + ".JPEG"),
                 png(noise_image(66, 70 + i, 3, static_cast<std::uint64_t>(i))));
    }
  }
  void write(const std::string& name, const std::string& text) const {
    write_file(folder_.path() / name, bytes_of(text));
  }
  [[nodiscard]] std::vector<std::int64_t> labels() const {
    const auto source = open_dataset(DatasetKind::automatic, folder_.path(), Split::validation);
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < source->size(); ++i) {
      all.push_back(source->label(i));
      EXPECT_EQ(load_image(*source, i).pixels,
                noise_image(66, 71 + i, 3, static_cast<std::uint64_t>(i + 1)).pixels);
    }
    return all;
  }
  void expect_refusal(const std::string& part) const {
    expect_input_error([this] { (void)labels(); }, part);
  }

  TemporaryFolder folder_;
  const std::string kaggle_ =
      "ImageId,PredictionString\n"
      "ILSVRC2012_val_00000003,n01 1 2 3 4 n01 5 6 7 8 \n"
      "ILSVRC2012_val_00000001,n07 85 1 499 272\r\n"
      "ILSVRC2012_val_00000002,n03 0 0 1 1\n";
};

TEST_F(FlatFolderSourceTest, SynsetsAreNumberedByName) {
  write("LOC_val_solution.csv", kaggle_);
  EXPECT_EQ(labels(), (std::vector<std::int64_t>{2, 1, 0}));
}

TEST_F(FlatFolderSourceTest, OrAsTheFoldersOfTheTrainingSet) {
  write("val/LOC_val_solution.csv", kaggle_);
  for (const char* synset : {"n00", "n01", "n03", "n05", "n07"}) {
    write_file(folder_.path() / "train" / synset / "1.png", png(noise_image(66, 70, 3, 1)));
  }
  EXPECT_EQ(labels(), (std::vector<std::int64_t>{4, 2, 1}));
  EXPECT_EQ(FlatFolderSource(folder_.path()).class_names(),
            (std::vector<std::string>{"n00", "n01", "n03", "n05", "n07"}));
  EXPECT_EQ(open_dataset(DatasetKind::automatic, folder_.path(), Split::validation)->num_classes(), 5);
  std::filesystem::remove_all(folder_.path() / "train" / "n03");
  expect_refusal("no class that is known for ");
}

TEST_F(FlatFolderSourceTest, CaffesListHasNumbers) {
  write(
      "val.txt",
      "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 970\nILSVRC2012_val_00000003.JPEG 0\n");
  EXPECT_EQ(labels(), (std::vector<std::int64_t>{65, 970, 0}));
  EXPECT_TRUE(FlatFolderSource(folder_.path()).class_names().empty());
  write("val.txt", "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG x\n");
  expect_refusal("no class that is known for ");
  write("val.txt", "ILSVRC2012_val_00000001.JPEG 65\n");
  expect_refusal("val.txt has no line for ");
}

TEST_F(FlatFolderSourceTest, WithoutAListItSaysWhatIsMissing) {
  expect_refusal("expected LOC_val_solution.csv (Kaggle) or val.txt (Caffe)");
  write("ILSVRC2012_validation_ground_truth.txt", "490\n361\n171\n");
  expect_refusal("are not those of sorted synsets");
}

TEST_F(FlatFolderSourceTest, TheFingerprintIsOfNamesAndLabels) {
  const auto fingerprint = [this] { return FlatFolderSource(folder_.path()).fingerprint(); };
  write("LOC_val_solution.csv", kaggle_);
  const auto before = fingerprint();
  EXPECT_EQ(fingerprint(), before);
  std::filesystem::remove(folder_.path() / "LOC_val_solution.csv");
  write("val.txt",
        "ILSVRC2012_val_00000001.JPEG 0\nILSVRC2012_val_00000002.JPEG 1\nILSVRC2012_val_00000003.JPEG 1\n");
  EXPECT_NE(fingerprint(), before);
}

}  // namespace
}  // namespace slicereduce
