#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "models/network.hpp"
#include "models/weights.hpp"

namespace slicereduce {
namespace {

/// To rounding, of values that are of the order of 1: a bias before batch norm has a gradient of zero, and
/// then there is nothing but rounding.
void expect_close(const at::Tensor& ours, const at::Tensor& theirs, const std::string& what) {
  ASSERT_EQ(ours.sizes(), theirs.sizes()) << what;
  EXPECT_LE((ours - theirs).abs().max().item<double>(), 1e-4 * (1 + theirs.abs().max().item<double>()))
      << what;
}

/// The network as PyTorch computes it, forward and backward (tests/peers/make_reference.py).
void expect_pytorchs_pass(const std::string& arch) {
  const std::filesystem::path folder = SLICEREDUCE_REFERENCE_DIR;
  const auto weights = folder / (arch + "_state.pt");
  const StateDict expected = read_state_dict(folder / (arch + "_pass.pt"));
  Network network(make_layout(make_architecture(arch, 3, 10), Coupling::block, false), 0);
  load_network_state(network, read_state_dict(weights), weights.string());
  CompactNetwork compact;
  network.gather(Plan::full(network.layout().sites), Precision::fp32, compact);
  const at::Tensor images = tensor_named(expected, "input", arch).contiguous(at::MemoryFormat::ChannelsLast);
  NormStatistics statistics = network.statistics().clone();
  const at::Tensor logits =
      network.forward(compact, images, statistics, {.batch_statistics = false}).detach();
  expect_close(logits, tensor_named(expected, "logits", arch), "logits");
  network.forward(compact, images, statistics, {}).square().sum().backward();
  for (std::size_t p = 0; p < compact.leaves.size(); ++p) {
    const std::string& name = network.layout().parameters[p].name;
    expect_close(compact.leaves[p].grad(), tensor_named(expected, "grad." + name, arch), name);
  }
  const StateDict saved = read_state_dict(weights);
  const StateDict ours = network_state(network, network.statistics(), 2);
  ASSERT_EQ(ours.size(), saved.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].first, saved[i].first);
  }
}

TEST(Pytorch, WideResnetGivesTheSamePass) { expect_pytorchs_pass("wrn-10-2"); }
TEST(Pytorch, PerceptronGivesTheSamePass) { expect_pytorchs_pass("mlp-3x50"); }
TEST(Pytorch, SmallCnnGivesTheSamePass) { expect_pytorchs_pass("cnn"); }

}  // namespace
}  // namespace slicereduce
