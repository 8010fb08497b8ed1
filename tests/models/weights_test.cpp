#include "models/weights.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/error.hpp"
#include "tests/support/tiny_network.hpp"

namespace slicereduce {
namespace {

using testing::layout_of;
using testing::random_plan;
using testing::shake_norms;

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "";
}

TEST(NetworkState, LoadsWhatItWrote) {
  Network source(layout_of("resnet20"), 1);
  shake_norms(source);
  Network target(layout_of("resnet20"), 2);
  load_network_state(target, network_state(source, source.statistics(), 7), "file");
  EXPECT_EQ(target.weights_digest(), source.weights_digest());
  for (std::size_t i = 0; i < source.statistics().mean.size(); ++i) {
    EXPECT_TRUE(at::equal(target.statistics().mean[i], source.statistics().mean[i]));
    EXPECT_TRUE(at::equal(target.statistics().variance[i], source.statistics().variance[i]));
  }
}

TEST(NetworkState, IsContiguousAsOtherProgramsExpect) {
  Network network(layout_of("resnet20"), 1);
  StateDict state = network_state(network, network.statistics(), 0);
  for (auto& tensor : sampled_state(network, random_plan(network.layout(), 1), network.statistics(), 0)) {
    state.push_back(std::move(tensor));
  }
  for (const auto& [name, tensor] : state) {
    EXPECT_TRUE(tensor.is_contiguous()) << name;
  }
}

TEST(NetworkState, NamesWhatDoesNotFitAndChangesNothing) {
  Network source(layout_of("resnet20"), 1);
  Network target(layout_of("resnet20"), 2);
  const std::uint64_t before = target.weights_digest();
  StateDict missing = network_state(source, source.statistics(), 0);
  missing.pop_back();
  EXPECT_NE(message_of([&] { load_network_state(target, missing, "a.pt"); }).find("fc.bias"),
            std::string::npos);
  StateDict extra = network_state(source, source.statistics(), 0);
  extra.emplace_back("layer9.weight", at::zeros({1}));
  EXPECT_NE(message_of([&] { load_network_state(target, extra, "a.pt"); }).find("layer9"), std::string::npos);
  StateDict reshaped = network_state(source, source.statistics(), 0);
  reshaped.back().second = at::zeros({11});
  const std::string message = message_of([&] { load_network_state(target, reshaped, "a.pt"); });
  EXPECT_NE(message.find("a.pt"), std::string::npos);
  EXPECT_NE(message.find("[11]"), std::string::npos);
  EXPECT_EQ(target.weights_digest(), before);
}

TEST(PlanState, RoundTrips) {
  const Layout layout = layout_of("resnet18");
  for (const auto* sampler : {"uniform", "proportional", "bernoulli"}) {
    const Plan plan = random_plan(layout, 3, sampler);
    EXPECT_EQ(plan_from_state(layout.sites, plan_state(layout.sites, plan), "file"), plan) << sampler;
  }
  const Plan full = Plan::full(layout.sites);
  EXPECT_TRUE(plan_state(layout.sites, full).empty());
  EXPECT_EQ(plan_from_state(layout.sites, {}, "file"), full);
}

TEST(PlanState, RefusesChannelsThatDoNotFit) {
  const Layout layout = layout_of("resnet18");
  const StateDict state{{"channels.layer1.0.input", at::tensor(std::vector<std::int64_t>{1, 64})}};
  EXPECT_NE(message_of([&] { (void)plan_from_state(layout.sites, state, "a.ckpt"); }).find("layer1.0.input"),
            std::string::npos);
}

TEST(SampledState, HoldsTheCompactTensorsAndTheirChannels) {
  Network network(layout_of("resnet18"), 1);
  const Plan plan = random_plan(network.layout(), 3);
  const StateDict state = sampled_state(network, plan, network.statistics(), 0);
  EXPECT_EQ(tensor_named(state, "layer1.0.conv1.weight", "").sizes(),
            (std::vector<std::int64_t>{32, 32, 3, 3}));
  EXPECT_EQ(tensor_named(state, "layer1.0.bn1.running_mean", "").numel(), 32);
  EXPECT_EQ(tensor_named(state, "layer1.0.conv2.weight", "").sizes(),
            (std::vector<std::int64_t>{64, 32, 3, 3}));
  EXPECT_EQ(tensor_named(state, "channels.layer1.0.input", "").numel(), 32);
}

}  // namespace
}  // namespace slicereduce
