#include "core/atomic_file.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <string>

#include "core/error.hpp"
#include "core/input_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

class AtomicFiles : public ::testing::Test {
 protected:
  static std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }
  static std::string text(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  const testing::TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

TEST_F(AtomicFiles, ReplacesTheOldContentAndLeavesNothingBeside) {
  const auto path = folder_ / "file";
  write_atomically(path, bytes("a much longer first version"));
  write_atomically(path, bytes("second"));
  EXPECT_EQ(text(read_whole(path)), "second");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(AtomicFiles, FailureKeepsTheOldContent) {
  const auto folder_in_the_way = folder_ / "taken";
  std::filesystem::create_directory(folder_in_the_way);
  std::ofstream(folder_in_the_way / "inside") << "x";
  EXPECT_THROW(write_atomically(folder_in_the_way, bytes("new")), Error);
  EXPECT_TRUE(std::filesystem::exists(folder_in_the_way / "inside"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
  EXPECT_THROW(write_atomically(folder_ / "missing" / "file", bytes("new")), Error);
}

TEST_F(AtomicFiles, LargeOnesInPiecesOfAnySizeAreWhole) {
  std::mt19937 random(7);
  for (const std::size_t size : {std::size_t{4} << 20, (std::size_t{4} << 20) + 1, std::size_t{9'876'543}}) {
    std::vector<std::byte> content(size);
    std::ranges::generate(content, [&] { return static_cast<std::byte>(random()); });
    {
      AtomicFile file(folder_ / "large");
      for (std::span<const std::byte> rest(content); !rest.empty();) {
        const std::size_t some = std::min<std::size_t>(rest.size(), random() % 1'500'000);
        file.write(rest.first(some));
        rest = rest.subspan(some);
      }
      file.commit();
    }
    EXPECT_EQ(read_whole(folder_ / "large"), content) << size;
  }
}

TEST_F(AtomicFiles, WhatIsNotCommittedLeavesNothing) {
  const auto path = folder_ / "file";
  write_atomically(path, bytes("first"));
  {
    AtomicFile file(path);
    file.write(bytes("sec"));
    file.write(bytes("ond"));
  }
  EXPECT_EQ(text(read_whole(path)), "first");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(AtomicFiles, ASecondNameTakesThePlaceOfWhatWasThere) {
  write_atomically(folder_ / "first", bytes("first"));
  write_atomically(folder_ / "second", bytes("second"));
  link_atomically(folder_ / "first", folder_ / "best");
  link_atomically(folder_ / "second", folder_ / "best");
  EXPECT_EQ(text(read_whole(folder_ / "best")), "second");
  EXPECT_EQ(std::filesystem::hard_link_count(folder_ / "best"), 2);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 3);
  EXPECT_THROW(link_atomically(folder_ / "missing", folder_ / "best"), Error);
  EXPECT_EQ(text(read_whole(folder_ / "best")), "second");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 3);
}

}  // namespace
}  // namespace slicereduce
