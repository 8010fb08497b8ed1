#include "core/input_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <span>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

class InputFiles : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  static std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static ErrorKind kind_of_refusal(const std::filesystem::path& path) {
    try {
      (void)read_whole(path);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
      return error.kind();
    }
    ADD_FAILURE() << path << " was read";
    return ErrorKind::invariant;
  }

  const testing::TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

TEST_F(InputFiles, AreReadWholeOrAtAPlace) {
  const InputFile file(write("a", "0123456789"));
  EXPECT_EQ(file.size(), 10U);
  std::array<std::byte, 4> part{};
  file.read_at(6, part);
  EXPECT_EQ(text(part), "6789");
  EXPECT_EQ(text(read_whole(file.path())), "0123456789");
  EXPECT_TRUE(read_whole(write("empty", "")).empty());
}

TEST_F(InputFiles, ReadingBeyondTheEndIsAnErrorThatNamesThePlace) {
  const InputFile file(write("a", "0123456789"));
  std::array<std::byte, 4> part{};
  testing::expect_error_from([&] { file.read_at(8, part); }, ErrorKind::io, "ends at byte 10");
}

TEST_F(InputFiles, MoveWithWhatTheyHold) {
  InputFile first(write("a", "first"));
  InputFile second(write("b", "second"));
  std::array<std::byte, 5> part{};
  InputFile moved(std::move(first));
  moved.read_at(0, part);
  EXPECT_EQ(text(part), "first");
  moved = std::move(second);
  moved.read_at(1, part);
  EXPECT_EQ(text(part), "econd");
  EXPECT_EQ(moved.size(), 6U);
}

TEST_F(InputFiles, WhatIsNoFileIsAnError) {
  EXPECT_EQ(kind_of_refusal(folder_ / "missing"), ErrorKind::input);
  EXPECT_EQ(kind_of_refusal(folder_), ErrorKind::input);
  const auto pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(kind_of_refusal(pipe), ErrorKind::input);  // and does not wait for a writer
}

TEST_F(InputFiles, WhatCanNotFitIntoMemoryIsAnErrorThatNamesIt) {
  const auto sparse = write("sparse", "");
  std::filesystem::resize_file(sparse, std::uintmax_t{1} << 43);  // of no blocks
  EXPECT_EQ(kind_of_refusal(sparse), ErrorKind::io);
}

}  // namespace
}  // namespace slicereduce
