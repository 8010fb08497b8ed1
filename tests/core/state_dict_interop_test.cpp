// Between state_dict_interop.py make and state_dict_interop.py check, which ctest runs before and after.
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "core/checkpoint_file.hpp"
#include "core/error.hpp"
#include "core/state_dict.hpp"

namespace slicereduce {
namespace {

class StateDictInterop : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("SLICEREDUCE_INTEROP_DIR");
    ASSERT_NE(folder, nullptr) << "run me through ctest";
    folder_ = folder;
    if (!std::filesystem::exists(folder_ / "made")) {
      GTEST_SKIP() << "there was no PyTorch with torchvision to make the files";
    }
  }

  [[nodiscard]] std::string refusal(const std::string& file) const {
    try {
      (void)read_state_dict(folder_ / file);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_NE(std::string(error.what()).find(file), std::string::npos) << error.what();
      return error.what();
    }
    ADD_FAILURE() << file << " was read";
    return {};
  }
  void expect_refusal(const std::string& file, const std::string& reason) const {
    const std::string message = refusal(file);
    EXPECT_NE(message.find(reason), std::string::npos) << message;
  }

  std::filesystem::path folder_;
};

TEST_F(StateDictInterop, WhatPythonWroteGoesThroughUs) {
  for (const char* name : {"ordered_dict", "plain_dict", "parameters", "views", "dtypes", "training_script",
                           "under_model", "resnet18"}) {
    SCOPED_TRACE(name);
    const StateDict dict = read_state_dict(folder_ / (std::string(name) + ".pt"));
    EXPECT_FALSE(dict.empty());
    write_state_dict(folder_ / (std::string(name) + ".back.pt"), dict);
  }
}

TEST_F(StateDictInterop, StridesComeBackAndTensorsOwnTheirMemory) {
  const StateDict dict = read_state_dict(folder_ / "views.pt");
  EXPECT_EQ(find_tensor(dict, "transposed")->strides(), at::IntArrayRef({1, 6}));
  EXPECT_EQ(find_tensor(dict, "every_other")->strides(), at::IntArrayRef({2}));
  EXPECT_EQ(find_tensor(dict, "expanded")->strides(), at::IntArrayRef({0}));
  EXPECT_TRUE(find_tensor(dict, "channels_last")->is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_EQ(find_tensor(dict, "tail")->storage().nbytes(), 6 * sizeof(float));
  find_tensor(dict, "head")->fill_(-1);
  EXPECT_EQ(find_tensor(dict, "transposed")->sum().item<float>(), 23 * 24 / 2);
}

TEST_F(StateDictInterop, ValuesBesideTheWeightsAreExtras) {
  const StateFile file = read_state_file(folder_ / "training_script.pt");
  EXPECT_EQ(*find_extra(file.extras, "epoch"), StateValue(std::int64_t{3}));
  EXPECT_EQ(*find_extra(file.extras, "arch"), StateValue(std::string("tiny")));
  EXPECT_EQ(find_extra(file.extras, "optimizer"), nullptr);
  EXPECT_NE(find_tensor(file.tensors, "0.weight"), nullptr);
  EXPECT_EQ(find_tensor(file.tensors, "best_acc1"), nullptr);
}

TEST_F(StateDictInterop, WhatWeWriteIsForPythonToRead) {
  const std::vector<std::int64_t> channels{0, 2, 5};
  const StateDict tensors{{"weight", at::arange(6, at::kFloat).view({2, 3})},
                          {"channels", at::tensor(channels)}};
  write_state_dict(folder_ / "written.pt", tensors,
                   {{"epoch", std::int64_t{1} << 40},
                    {"ratio", 0.25},
                    {"note", std::string("ein Gruß")},
                    {"sets", std::vector<std::int64_t>{1, -2, 300}},
                    {"none", std::vector<std::int64_t>{}}});
  write_checkpoint(
      folder_ / "run.checkpoint",
      {{{"weights", {{"weight", at::arange(6, at::kFloat)}}}, {"momentum", {}}}, "{\"step\": 7}"});
}

TEST_F(StateDictInterop, CodeInAFileIsRefusedAndNotRun) {
  expect_refusal("malicious.pt", "posix system");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "attacked"));
  expect_refusal("whole_model.pt", "torch.nn.modules.container Sequential");
}

TEST_F(StateDictInterop, OtherFormatsAreRefusedWithAWayOut) {
  expect_refusal("legacy.pt", "write it again with torch.save");
  expect_refusal("protocol4.pt", "not of protocol 2");
  expect_refusal("list.pt", "holds no state dict");
}

}  // namespace
}  // namespace slicereduce
