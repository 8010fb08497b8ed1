#include "imagenet/shard_index.hpp"

#include <gtest/gtest.h>

#include <random>

#include "core/error.hpp"
#include "core/text.hpp"
#include "tests/imagenet/shard_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

Bytes random_bytes(std::size_t count) {
  static std::mt19937 generator(std::random_device{}());
  Bytes bytes(count);
  for (auto& byte : bytes) {
    byte = static_cast<std::uint8_t>(generator());
  }
  return bytes;
}

class ShardIndexTest : public ::testing::Test {
 protected:
  [[nodiscard]] InputFile shard(const Bytes& bytes) const {
    write_file(path_, bytes);
    return InputFile(path_);
  }
  [[nodiscard]] std::string index_of(const Bytes& bytes) const { return make_index(shard(bytes)); }
  /// What a shard of these bytes is told to be wrong, if anything is.
  [[nodiscard]] std::string complaint(const Bytes& bytes) const {
    try {
      const InputFile file = shard(bytes);
      (void)parse_index(make_index(file), file.size());
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
      return error.what();
    }
  }

  TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "train-0000.tar";
};

TEST(ShardIndex, KeysEndAtTheFirstDotOfTheFilesName) {
  const auto parts = [](std::string_view path) {
    const MemberName name = split_member_name(path);
    return concat(name.key, "|", name.extension);
  };
  EXPECT_EQ(parts("a/b.c/d.seg.png"), "a/b.c/d|seg.png");
  EXPECT_EQ(parts("d.jpg"), "d|jpg");
  EXPECT_EQ(parts("../../d.jpg"), "../../d|jpg");
  EXPECT_EQ(parts("a.b/d"), "a.b/d|");
  EXPECT_EQ(parts(""), "|");
}

TEST(ShardIndex, LiesBesideItsShard) {
  EXPECT_EQ(index_path("/x/train-0000.tar"), "/x/train-0000.idx");
  EXPECT_EQ(index_path("a.b/train.more.tar"), "a.b/train.more.idx");
}

TEST_F(ShardIndexTest, SaysWhereEachFileIsInAllFormsOfTar) {
  const std::string long_name(300, 'k');
  for (const TarForm form : {TarForm::ustar, TarForm::gnu, TarForm::pax}) {
    SCOPED_TRACE(static_cast<int>(form));
    std::vector<TarMember> members{{"folder/", {}}};
    for (int i = 0; i < 5; ++i) {
      const std::string key =
          form != TarForm::ustar && i % 2 == 0 ? concat("folder/", long_name, i) : concat("k", i);
      members.push_back({key + ".jpg", random_bytes(static_cast<std::size_t>(i) * 511)});
      members.push_back({key + ".json", random_bytes(7)});
      members.push_back({key + ".cls", random_bytes(static_cast<std::size_t>(i) % 2 + 1)});
    }
    const Bytes bytes = tar(members, form);
    const auto samples = parse_index(index_of(bytes), bytes.size());
    ASSERT_EQ(samples.size(), 5U);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto at = [&](std::uint64_t offset, std::uint32_t count) {
        const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
        return Bytes(first, first + count);
      };
      EXPECT_EQ(at(samples[i].image_offset, samples[i].image_bytes), members[3 * i + 1].bytes);
      EXPECT_EQ(at(samples[i].label_offset, samples[i].label_bytes), members[3 * i + 3].bytes);
    }
    EXPECT_EQ(header_before(shard(bytes), samples[1].image_offset)->path, "k1.jpg");
    EXPECT_FALSE(header_before(shard(bytes), samples[1].image_offset + 512));
  }
}

TEST_F(ShardIndexTest, IsTheTextOfWds2idx) {
  const Bytes bytes =
      tar({{"a.cls", bytes_of("7")}, {"a.jpg", random_bytes(600)}, {"b.jpg", {}}, {"b.cls", {}}});
  EXPECT_EQ(index_of(bytes),
            "v1.2 2\ncls 512 1 a.cls jpg 1536 600 a.jpg\njpg 3072 0 b.jpg cls 3584 0 b.cls\n");
  const Bytes blank = tar({{"a b.cls", bytes_of("7")}, {"a b.jpg", random_bytes(600)}});
  EXPECT_EQ(index_of(blank), "v1.1 1\ncls 512 1 jpg 1536 600\n");
  EXPECT_EQ(parse_index(index_of(blank), blank.size()).front().image_offset, 1536U);
}

TEST_F(ShardIndexTest, HiddenFilesAndThoseWithoutExtensionAreNoSamples) {
  const Bytes bytes = tar({{"README", bytes_of("x")},
                           {"._a.jpg", bytes_of("x")},
                           {"d/.a.jpg", bytes_of("x")},
                           {"a.cls", bytes_of("7")},
                           {"a.JPG", bytes_of("x")}});
  EXPECT_EQ(index_of(bytes), concat("v1.2 1\ncls 3584 1 a.cls JPG 4608 1 a.JPG\n"));
}

TEST_F(ShardIndexTest, SamplesLackNothing) {
  const Bytes picture = random_bytes(10);
  EXPECT_NE(complaint(tar({{"a.jpg", picture}})).find("found 1 and 0"), std::string::npos);
  EXPECT_NE(complaint(tar({{"a.cls", picture}, {"b.jpg", picture}})).find("line 2"), std::string::npos);
  EXPECT_NE(
      complaint(tar({{"a.jpg", picture}, {"a.png", picture}, {"a.cls", picture}})).find("found 2 and 1"),
      std::string::npos);
  EXPECT_NE(complaint(tar({{"notes", picture}})).find("holds no sample"), std::string::npos);
}

TEST_F(ShardIndexTest, CutShardsAreErrorsOrHoldFewerSamples) {
  const Bytes whole = tar(noise_samples(0, 3, 2));
  const std::string kept = index_of(whole);
  const StoredSample last = parse_index(kept, whole.size()).back();
  for (std::size_t size = 0; size < whole.size(); size += 100) {
    SCOPED_TRACE(size);
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const bool is_complete = size >= last.image_offset + last.image_bytes;
    if (!is_complete) {
      // Who kept the index sees it.
      expect_input_error([&] { (void)parse_index(kept, size); }, "are not within the shard's");
    }
    if (complaint(cut).empty()) {
      // Between two members: as for tar itself, no end mark is no error.
      EXPECT_TRUE(is_complete || size % 512 == 0);
    }
  }
}

TEST_F(ShardIndexTest, FlippedBytesNeverCrash) {
  const Bytes whole = tar(noise_samples(0, 2, 2));
  std::mt19937 generator(std::random_device{}());
  for (int round = 0; round < 2000; ++round) {
    Bytes damaged = whole;
    // Mostly in the first header.
    const std::size_t at = generator() % (round % 4 == 0 ? whole.size() : 512);
    damaged[at] = static_cast<std::uint8_t>(generator());
    (void)complaint(damaged);
  }
}

TEST_F(ShardIndexTest, AMemberCannotClaimMoreThanThereIs) {
  Bytes bytes = tar(noise_samples(0, 1, 2));
  // Of the label: 8 GiB in octal, and the checksum without the field, as blanks.
  const std::string size = "100000000000";
  std::copy(size.begin(), size.end(), bytes.begin() + 124);
  std::fill_n(bytes.begin() + 148, 8, static_cast<std::uint8_t>(' '));
  unsigned int sum = 0;
  for (std::size_t i = 0; i < 512; ++i) {
    sum += bytes[i];
  }
  std::array<char, 8> checksum{};
  std::snprintf(checksum.data(), checksum.size(), "%06o", sum);
  std::copy_n(checksum.begin(), 7, bytes.begin() + 148);
  EXPECT_NE(complaint(bytes), "");
}

TEST_F(ShardIndexTest, OtherFilesAreNoShards) {
  for (const Bytes& bytes :
       {Bytes{}, bytes_of("no tar"), gzip(tar(noise_samples(0, 1, 2))), Bytes(10240, 0)}) {
    EXPECT_NE(complaint(bytes), "");
  }
}

TEST(ShardIndex, WhatIsNoIndexIsRefusedByLine) {
  const auto refuses = [](const std::string& text, const std::string& why) {
    expect_input_error([&] { (void)parse_index(text, 10'000); }, why);
  };
  refuses("", "line 1: '' is no version");
  refuses("v9 1\n", "line 1: 'v9' is no version");
  refuses("v1.2\n", "line 1: '' is no number");
  refuses("v1.2 0\n", "line 1");
  refuses("v1.2 99999999999999\njpg 0 1 a cls 0 1 a\n", "line 1");
  refuses("v1.2 2\njpg 0 1 a.jpg cls 0 1 a.cls\n", "2 samples are announced, 1 follow");
  refuses("v1.2 1\njpg x 1 a.jpg cls 0 1 a.cls\n", "line 2: 'x' is no number");
  refuses("v1.2 1\njpg -1 1 a.jpg cls 0 1 a.cls\n", "line 2: '-1' is no number");
  refuses("v1.2 1\njpg 0 10001 a.jpg cls 0 1 a.cls\n", "line 2: 10001 bytes at 0");
  refuses("v1.2 1\njpg 9728 300 a.jpg cls 0 1 a.cls\n", "line 2: 300 bytes at 9728");
  refuses("v1.2 1\njpg 18446744073709551104 600 a.jpg cls 0 1 a.cls\n",
          "line 2: 600 bytes at 18446744073709551104");
  refuses("v1.2 1\njpg 513 2 a.jpg cls 0 1 a.cls\n", "line 2: offset 513 is no multiple of 512");
  refuses("v1.2 1\njpg 0 1 a.jpg cls 0 1\n", "line 2: a path is missing");
  refuses("v1.2 1\njpg 0 1 a.jpg\n", "line 2: expected a picture");
}

}  // namespace
}  // namespace slicereduce
