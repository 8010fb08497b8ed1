#include "core/state_dict.hpp"

#include <ATen/core/Dict.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/scalar_tensor.h>
#include <caffe2/serialize/inline_container.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <string>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/input_file.hpp"
#include "core/text.hpp"
#include "core/torch_archive.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/little_endian.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

class StateDictFile : public ::testing::Test {
 protected:
  const testing::TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
  const std::filesystem::path path_ = folder_ / "weights.pt";
};

TEST_F(StateDictFile, ComesBackInOrderAndBitByBit) {
  const StateDict dict{{"z", at::arange(6, at::kFloat).view({2, 3})},
                       {"a", at::arange(3, at::kBFloat16)},
                       {"scalar", at::scalar_tensor(7, at::kLong)},
                       {"empty", at::empty({0, 3})}};
  write_state_dict(path_, dict);
  const StateDict back = read_state_dict(path_);
  ASSERT_EQ(back.size(), dict.size());
  for (std::size_t i = 0; i < dict.size(); ++i) {
    EXPECT_EQ(back[i].first, dict[i].first);
    EXPECT_EQ(back[i].second.dtype(), dict[i].second.dtype());
    EXPECT_TRUE(at::equal(back[i].second, dict[i].second)) << dict[i].first;
  }
}

TEST_F(StateDictFile, ChannelsLastStays) {
  write_state_dict(path_, {{"w", at::rand({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast)}});
  EXPECT_TRUE(read_state_dict(path_)[0].second.is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST_F(StateDictFile, AViewDoesNotBringItsStorage) {
  const at::Tensor bucket = at::arange(100'000, at::kFloat);
  write_state_dict(path_, {{"first", bucket.slice(0, 0, 10)}, {"second", bucket.slice(0, 10, 20)}});
  EXPECT_LT(std::filesystem::file_size(path_), 10'000U);
  EXPECT_TRUE(at::equal(read_state_dict(path_)[1].second, bucket.slice(0, 10, 20)));
}

TEST_F(StateDictFile, NamesThatShareATensorEachOwnTheirs) {
  const at::Tensor tied = at::ones({4});
  write_state_dict(path_, {{"encoder", tied}, {"decoder", tied}});
  const StateDict back = read_state_dict(path_);
  back[0].second.fill_(2);
  EXPECT_TRUE(at::equal(back[1].second, at::ones({4})));
}

TEST_F(StateDictFile, AParameterIsWrittenWithoutItsGradient) {
  write_state_dict(path_, {{"w", at::ones({2}).requires_grad_(true)}});
  EXPECT_FALSE(read_state_dict(path_)[0].second.requires_grad());
}

TEST_F(StateDictFile, ExtrasComeBack) {
  const StateExtras extras{{"epoch", std::int64_t{-3}},
                           {"lr", 0.1},
                           {"arch", std::string("resnet18")},
                           {"channels", std::vector<std::int64_t>{0, 1'000, 70'000, std::int64_t{1} << 40}}};
  write_state_dict(path_, {{"w", at::ones({1})}}, extras);
  EXPECT_EQ(read_state_file(path_).extras, extras);
}

TEST_F(StateDictFile, TheSameContentGivesTheSameBytes) {
  const StateDict dict{{"w", at::arange(10, at::kFloat)}};
  write_state_dict(path_, dict);
  const auto first = read_whole(path_);
  write_state_dict(path_, dict);
  EXPECT_EQ(read_whole(path_), first);
}

TEST_F(StateDictFile, TheDistributedPrefixIsTakenOffWhereAllHaveIt) {
  write_state_dict(path_, {{"module.a", at::ones({1})}, {"module.b", at::ones({1})}});
  EXPECT_NE(find_tensor(read_state_dict(path_), "a"), nullptr);
  write_state_dict(path_, {{"module.a", at::ones({1})}, {"b", at::ones({1})}});
  EXPECT_NE(find_tensor(read_state_dict(path_), "module.a"), nullptr);
}

TEST_F(StateDictFile, ANameIsWrittenOnce) {
  const at::Tensor one = at::ones({1});
  EXPECT_THROW(write_state_dict(path_, {{"w", one}, {"w", one}}), Error);
  EXPECT_THROW(write_state_dict(path_, {{"w", one}}, {{"w", std::int64_t{1}}}), Error);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(StateDictFile, DtypesThatCouldNotBeReadAreNotWritten) {
  EXPECT_THROW(write_state_dict(path_, {{"w", at::ones({1}, at::kComplexFloat)}}), Error);
}

TEST_F(StateDictFile, OtherFilesAreRefused) {
  const auto kind_of_refusal = [&] {
    try {
      (void)read_state_dict(path_);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path_.string()), std::string::npos) << error.what();
      return error.kind();
    }
    return ErrorKind::invariant;
  };
  EXPECT_EQ(kind_of_refusal(), ErrorKind::input) << "missing";
  for (const char* content : {"", "PK", "PK\x03\x04", "a text that is no archive", "\x80\x02}q."}) {
    std::ofstream(path_, std::ios::trunc) << content;
    EXPECT_EQ(kind_of_refusal(), ErrorKind::input) << content;
  }
}

TEST(WriteTorchArchive, PassesOnWhatItsSinkThrows) {
  c10::Dict<c10::IValue, c10::IValue> root(c10::StringType::get(), c10::AnyType::get());
  root.insert("a", at::arange(6, at::kFloat));
  int pieces = 0;
  write_torch_archive(root, [&](std::span<const std::byte>) { ++pieces; });
  ASSERT_GT(pieces, 3);
  for (int last = 1; last <= pieces; ++last) {
    int piece = 0;
    const auto full = [&](std::span<const std::byte>) {
      if (++piece == last) {
        throw Error(ErrorKind::io, "full");
      }
    };
    EXPECT_THROW(write_torch_archive(root, full), Error) << last;
    EXPECT_EQ(piece, last);
  }
}

// A file has no checksum that is looked at, so a flipped byte may go unseen; it must never do more than
// give an Error or other numbers.
TEST_F(StateDictFile, DamageGivesAnErrorOrOtherNumbers) {
  write_state_dict(path_, {{"a", at::arange(6, at::kFloat).view({2, 3})}, {"b", at::arange(3, at::kLong)}},
                   {{"sets", std::vector<std::int64_t>{1, 2}}});
  const auto whole = read_whole(path_);
  int refused = 0;
  const auto try_to_read = [&](const std::vector<std::byte>& bytes) {
    write_atomically(path_, bytes);
    try {
      (void)read_state_file(path_);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
      ++refused;
    }
  };
  std::mt19937 random(5);
  for (int i = 0; i < 1'500; ++i) {
    auto bytes = whole;
    bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    try_to_read(bytes);
  }
  const int refused_before = refused;
  EXPECT_GT(refused_before, 0);
  constexpr int kCuts = 100;
  for (int i = 0; i < kCuts; ++i) {
    try_to_read({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(random() % whole.size())});
  }
  EXPECT_EQ(refused - refused_before, kCuts);
}

/// An archive as torch.save lays it out, with a pickle of ours and one record of tensors' bytes.
void write_archive(const std::filesystem::path& path, const std::string& pickle,
                   const std::vector<float>& numbers) {
  caffe2::serialize::PyTorchStreamWriter writer(path.string());
  writer.writeRecord("data.pkl", pickle.data(), pickle.size());
  writer.writeRecord("byteorder", "little", 6);
  writer.writeRecord("data/0", numbers.data(), numbers.size() * sizeof(float));
  writer.writeEndOfFile();
}

using testing::little_endian;

std::string pickled(const std::string& text) {
  return concat('X', little_endian(static_cast<std::uint32_t>(text.size())), text);
}
std::string pickled(std::int64_t number) { return concat("\x8a\x08", little_endian(number)); }

/// A vector of `size` numbers, each `stride` behind the last, of a storage of `numel`.
std::string pickled_vector(std::int64_t numel, std::int64_t size, std::int64_t stride) {
  return concat("ctorch._utils\n_rebuild_tensor_v2\n((", pickled("storage"), "ctorch\nFloatStorage\n",
                pickled("0"), pickled("cpu"), pickled(numel), "tQ", pickled(0), pickled(size), '\x85',
                pickled(stride), "\x85\x89", "ccollections\nOrderedDict\n)RtR");
}

TEST_F(StateDictFile, ASmallFileDoesNotComeToMuchMemory) {
  const auto refused = [&](const std::string& items, std::size_t numel) {
    write_archive(path_, concat("\x80\x02}(", items, "u."), std::vector<float>(numel));
    testing::expect_error_from([&] { (void)read_state_dict(path_); }, ErrorKind::input, "beyond measure");
  };
  constexpr std::int64_t kNumel = 100'000;
  std::string names = concat(pickled("first"), pickled_vector(kNumel, kNumel, 1), 'q', '\0');
  for (int i = 0; i < 1'000; ++i) {
    names += concat(pickled(concat("also", i)), 'h', '\0');
  }
  refused(names, kNumel);  // 400 MB of 0.4
  refused(concat(pickled("one"), pickled_vector(1, std::int64_t{1} << 31, 0)), 1);
}

TEST_F(StateDictFile, ACompressedRecordIsRefusedBeforeItIsRead) {
  write_state_dict(path_, {{"w", at::ones({4})}});
  auto bytes = read_whole(path_);
  const std::string entry = "PK\1\2";
  const auto* begin = reinterpret_cast<const std::byte*>(entry.data());
  const auto first = std::search(bytes.begin(), bytes.end(), begin, begin + entry.size());
  ASSERT_NE(first, bytes.end());
  *(first + 10) = std::byte{8};  // the method: deflate
  write_atomically(path_, bytes);
  testing::expect_error_from([&] { (void)read_state_dict(path_); }, ErrorKind::input, "compressed record");
}

TEST(StateDict, LookUpNamesWhatIsMissing) {
  const StateDict dict{{"w", at::ones({1})}};
  EXPECT_EQ(find_tensor(dict, "x"), nullptr);
  EXPECT_TRUE(tensor_named(dict, "w", "f.pt").is_same(dict[0].second));
  try {
    (void)tensor_named(dict, "x", "f.pt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("f.pt: holds no tensor x"), std::string::npos);
  }
}

}  // namespace
}  // namespace slicereduce
