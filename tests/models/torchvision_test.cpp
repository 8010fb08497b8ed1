#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "models/network.hpp"
#include "models/weights.hpp"

namespace slicereduce {
namespace {

/// torchvision's network with random weights, as it saved them, and its logits
/// (tests/peers/make_reference.py).
void expect_torchvisions_logits(const std::string& arch) {
  const std::filesystem::path folder = SLICEREDUCE_REFERENCE_DIR;
  const auto weights = folder / (arch + "_torchvision.pt");
  const StateDict expected = read_state_dict(folder / (arch + "_logits.pt"));
  Network network(make_layout(make_architecture(arch, 3, 1000), Coupling::block, false), 0);
  load_network_state(network, read_state_dict(weights), weights.string());
  CompactNetwork compact;
  network.gather(Plan::full(network.layout().sites), Precision::fp32, compact);
  const at::Tensor images =
      tensor_named(expected, "input", "logits").contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor logits =
      network.forward(compact, images, network.statistics(), {.batch_statistics = false}).detach();
  const at::Tensor theirs = tensor_named(expected, "logits", "logits");
  EXPECT_LE((logits - theirs).abs().max().item<double>(), 1e-4 * theirs.abs().max().item<double>());
  // What is written back has their names, in their order, with their values.
  const StateDict saved = read_state_dict(weights);
  const StateDict ours = network_state(network, network.statistics(), 2);
  ASSERT_EQ(ours.size(), saved.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].first, saved[i].first);
    EXPECT_TRUE(at::equal(ours[i].second, saved[i].second)) << ours[i].first;
  }
}

TEST(Torchvision, Resnet18GivesTheSameLogits) { expect_torchvisions_logits("resnet18"); }
TEST(Torchvision, Resnet50GivesTheSameLogits) { expect_torchvisions_logits("resnet50"); }

}  // namespace
}  // namespace slicereduce
