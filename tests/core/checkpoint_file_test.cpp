#include "core/checkpoint_file.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <string>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/input_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

class CheckpointFile : public ::testing::Test {
 protected:
  static CheckpointContent content() {
    return {{{"weights", {{"conv", at::arange(120, at::kFloat).view({2, 3, 4, 5})}, {"fc", at::ones({7})}}},
             {"momentum", {{"conv", at::full({2, 3, 4, 5}, 0.5)}}},
             {"statistics", {}}},
            "{\"step\": 7, \"note\": \"Gruß\"}"};
  }
  std::vector<std::byte> written() const {
    write_checkpoint(path_, content());
    return read_whole(path_);
  }
  /// Why a file of these bytes is refused; empty where it is read.
  std::string refusal(std::span<const std::byte> bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    try {
      (void)CheckpointReader(path_);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
      EXPECT_NE(std::string(error.what()).find(path_.string()), std::string::npos) << error.what();
      return error.what();
    }
    return {};
  }
  std::string refusal(const std::string& text) const { return refusal(std::as_bytes(std::span(text))); }

  const testing::TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
  const std::filesystem::path path_ = folder_ / "step-7";
};

TEST_F(CheckpointFile, ComesBackAsItWas) {
  write_checkpoint(path_, content());
  CheckpointReader back(path_);
  EXPECT_EQ(back.manifest(), content().manifest);
  for (const auto& [section, tensors] : content().sections) {
    const StateDict read = back.load(section);
    ASSERT_EQ(read.size(), tensors.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_EQ(read[i].first, tensors[i].first);
      EXPECT_TRUE(at::equal(read[i].second, tensors[i].second));
    }
  }
  EXPECT_THROW((void)back.load("optimizer"), Error);
}

TEST_F(CheckpointFile, GivesTheTensorsThatAreWanted) {
  write_checkpoint(path_, content());
  const StateDict read = CheckpointReader(path_).load("weights", [](auto name) { return name == "fc"; });
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read[0].first, "fc");
  EXPECT_TRUE(at::equal(read[0].second, at::ones({7})));
}

/// What another has put in its place meanwhile is another file: this one's tensors are of what was checked.
TEST_F(CheckpointFile, StaysTheFileThatWasChecked) {
  write_checkpoint(path_, content());
  CheckpointReader file(path_);
  write_checkpoint(path_, {.sections = {{"weights", {{"fc", at::full({7}, 3)}}}}, .manifest = "{}"});
  EXPECT_TRUE(at::equal(file.load("weights")[1].second, at::ones({7})));
}

TEST_F(CheckpointFile, TheSameContentGivesTheSameBytes) { EXPECT_EQ(written(), written()); }

TEST_F(CheckpointFile, ACutAnywhereIsToldAsSuch) {
  const auto whole = written();
  std::mt19937 random(3);
  std::vector<std::size_t> lengths{
      1, 3, 4, 29, 31, 40, whole.size() - 41, whole.size() - 40, whole.size() - 1};
  for (int i = 0; i < 300; ++i) {
    lengths.push_back(1 + random() % (whole.size() - 1));
  }
  for (const std::size_t length : lengths) {
    const std::string reason = refusal(std::span(whole).first(length));
    EXPECT_NE(reason.find("cut short"), std::string::npos) << length << ": " << reason;
  }
}

TEST_F(CheckpointFile, AFlippedBitAnywhereIsRefused) {
  const auto whole = written();
  std::mt19937 random(4);
  for (int i = 0; i < 2'000; ++i) {
    auto bytes = whole;
    // The trailer gets its share: it is a small part of the file.
    const std::size_t at = i % 2 == 0 ? random() % whole.size() : whole.size() - 1 - random() % 40;
    bytes[at] ^= std::byte{1} << (random() % 8);
    EXPECT_NE(refusal(bytes), "") << "byte " << at;
  }
  auto bytes = whole;
  bytes[whole.size() / 2] ^= std::byte{1};
  EXPECT_NE(refusal(bytes).find("checksum differs"), std::string::npos);
}

TEST_F(CheckpointFile, AddedBytesAreRefused) {
  auto bytes = written();
  const auto whole = bytes;
  bytes.push_back(std::byte{0});
  EXPECT_NE(refusal(bytes), "");
  bytes = whole;
  bytes.insert(bytes.begin(), std::byte{0});
  EXPECT_NE(refusal(bytes), "");
  bytes = whole;
  bytes.insert(bytes.end(), whole.begin(), whole.end());
  EXPECT_NE(refusal(bytes), "");
}

TEST_F(CheckpointFile, OtherFilesAreToldAsSuch) {
  const std::string other = "not a slicereduce checkpoint";
  EXPECT_NE(refusal("").find(other), std::string::npos);
  EXPECT_NE(refusal("hello").find(other), std::string::npos);
  EXPECT_NE(refusal(std::string(500, 'x')).find(other), std::string::npos);
  write_state_dict(path_, {{"w", at::ones({100})}});
  EXPECT_NE(refusal(read_whole(path_)).find(other), std::string::npos);
}

TEST_F(CheckpointFile, AMissingFileIsBadInput) {
  try {
    (void)CheckpointReader(folder_ / "missing");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
  }
}

}  // namespace
}  // namespace slicereduce
