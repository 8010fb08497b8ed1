#include "imagenet/open_dataset.hpp"

#include <gtest/gtest.h>

#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

std::unique_ptr<ImageSource> open_automatically(const TemporaryFolder& folder) {
  return open_dataset(DatasetKind::automatic, folder.path(), Split::validation);
}

TEST(OpenDataset, RecognizesMnistFormat) {
  const TemporaryFolder folder;
  write_file(folder.path() / "t10k-images-idx3-ubyte.gz", gzip(idx_images(1, 2, 2, {1, 2, 3, 4})));
  write_file(folder.path() / "t10k-labels-idx1-ubyte", idx_labels({3}));
  EXPECT_EQ(open_automatically(folder)->channels(), 1);
}

TEST(OpenDataset, RecognizesCifar10) {
  const TemporaryFolder folder;
  write_file(folder.path() / "test_batch.bin", Bytes(3073, 1));
  EXPECT_EQ(open_automatically(folder)->fixed_extent(), (Extent{32, 32}));
}

TEST(OpenDataset, RecognizesImageFolders) {
  const TemporaryFolder folder;
  write_file(folder.path() / "val" / "a" / "1.png", png(smooth_image(5, 6, 3)));
  EXPECT_EQ(open_automatically(folder)->fixed_extent(), (Extent{5, 6}));
}

TEST(OpenDataset, SaysWhatItLookedFor) {
  const TemporaryFolder folder;
  for (const auto* part : {"train-images-idx3-ubyte", "data_batch_1.bin", "train/", "--data"}) {
    expect_input_error([&] { (void)open_automatically(folder); }, part);
  }
}

TEST(OpenDataset, AnExplicitKindIsNotGuessedAway) {
  const TemporaryFolder folder;
  write_file(folder.path() / "val" / "a" / "1.png", png(smooth_image(5, 6, 3)));
  expect_input_error([&] { (void)open_dataset(DatasetKind::cifar10, folder.path(), Split::validation); },
                     "test_batch.bin");
}

TEST(OpenDataset, AMissingFolderIsNamed) {
  expect_input_error([] { (void)open_dataset(DatasetKind::automatic, "/nowhere/at/all", Split::train); },
                     "/nowhere/at/all");
}

TEST(OpenDataset, WhatTheFileSystemRefusesIsAnErrorThatNamesIt) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("val", folder.path() / "val");  // a link to itself
  expect_input_error([&] { (void)open_automatically(folder); }, (folder.path() / "val").string());
}

}  // namespace
}  // namespace slicereduce
