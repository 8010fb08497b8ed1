#include "imagenet/cifar10_source.hpp"

#include <gtest/gtest.h>

#include "imagenet/decoder.hpp"
#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

constexpr std::size_t kPlane = 32 * 32;

/// A picture whose pixel p is (p, p + 1, p + 2) mod 256.
Bytes record(std::uint8_t label) {
  Bytes bytes{label};
  for (std::size_t channel = 0; channel < 3; ++channel) {
    for (std::size_t pixel = 0; pixel < kPlane; ++pixel) {
      bytes.push_back(static_cast<std::uint8_t>(pixel + channel));
    }
  }
  return bytes;
}

void write_batches(const std::filesystem::path& folder) {
  for (std::uint8_t i = 1; i <= 5; ++i) {
    write_file(folder / ("data_batch_" + std::to_string(i) + ".bin"), record(i));
  }
  write_file(folder / "test_batch.bin", record(8));
}

TEST(Cifar10Source, InterleavesThePlanes) {
  const TemporaryFolder folder;
  write_batches(folder.path());
  const Cifar10Source source(folder.path(), Split::train);
  ASSERT_EQ(source.size(), 5);
  EXPECT_EQ(source.label(0), 1);
  EXPECT_EQ(source.label(4), 5);
  const Image image = load_image(source, 2);
  EXPECT_EQ(image.extent(), (Extent{32, 32}));
  ASSERT_EQ(image.pixels.size(), 3 * kPlane);
  for (std::size_t pixel = 0; pixel < kPlane; ++pixel) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      ASSERT_EQ(image.pixels[3 * pixel + channel], static_cast<std::uint8_t>(pixel + channel));
    }
  }
}

TEST(Cifar10Source, ValidationIsTheTestBatchAlsoInTheArchivesFolder) {
  const TemporaryFolder folder;
  write_batches(folder.path() / "cifar-10-batches-bin");
  EXPECT_TRUE(is_cifar10_folder(folder.path()));
  const Cifar10Source source(folder.path(), Split::validation);
  EXPECT_EQ(source.size(), 1);
  EXPECT_EQ(source.label(0), 8);
  EXPECT_NE(source.fingerprint(), Cifar10Source(folder.path(), Split::train).fingerprint());
}

TEST(Cifar10Source, DamagedAndMissingFilesAreNamed) {
  const TemporaryFolder folder;
  const auto expect_error = [&](const std::string& part) {
    expect_input_error([&] { Cifar10Source(folder.path(), Split::train); }, part);
  };
  write_batches(folder.path());
  Bytes truncated = record(1);
  truncated.pop_back();
  write_file(folder.path() / "data_batch_3.bin", truncated);
  expect_error("data_batch_3.bin");
  write_file(folder.path() / "data_batch_3.bin", record(10));
  expect_error("label 0 is 10");
  std::filesystem::remove(folder.path() / "data_batch_3.bin");
  expect_error("data_batch_3.bin");
}

}  // namespace
}  // namespace slicereduce
