#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <filesystem>

#include "comm/mpi_communicator.hpp"
#include "comm/reducer.hpp"
#include "launcher/training_step.hpp"
#include "models/weights.hpp"

namespace slicereduce {
namespace {

StateDict with_prefix(const StateDict& all, const std::string& prefix) {
  StateDict found;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix)) {
      found.emplace_back(name.substr(prefix.size()), tensor);
    }
  }
  return found;
}

/// 20 steps of PyTorch's DistributedDataParallel from the same weights on the same batches
/// (tests/peers/make_reference.py), on two ranks.
TEST(DdpParity, RatioOneTrainsAsDistributedDataParallelDoes) {
  const StateDict reference =
      read_state_dict(std::filesystem::path(SLICEREDUCE_REFERENCE_DIR) / "ddp_resnet18.pt");
  const auto named = [&](const std::string& name) {
    return tensor_named(reference, name, "ddp_resnet18.pt");
  };
  MpiCommunicator communicator(MPI_COMM_WORLD);
  ASSERT_EQ(communicator.world_size(), 2);
  Network network(make_layout(make_architecture("resnet18", 3, 10), Coupling::block, false), 0);
  load_network_state(network, with_prefix(reference, "initial."), "ddp_resnet18.pt");
  SlicedSgd sgd(
      network.parameters(), network.layout().sites,
      {.momentum = named("momentum").item<double>(), .weight_decay = named("weight_decay").item<double>()});
  Reducer reducer(communicator, {.bucket_bytes = 4'000'000});
  TrainingStep step(network, sgd, reducer, {});
  const Plan full = Plan::full(network.layout().sites);
  const at::Tensor inputs = named("inputs");
  for (std::int64_t i = 0; i < inputs.size(0); ++i) {
    const Microbatch batch{
        .images = inputs[i][communicator.rank()].contiguous(at::MemoryFormat::ChannelsLast),
        .labels = named("labels")[i][communicator.rank()].contiguous()};
    const auto result = step.run({.network = full}, std::span(&batch, 1), named("lr").item<double>());
    ASSERT_TRUE(result.has_value());
    const auto theirs = named("losses")[i][communicator.rank()].item<double>();
    EXPECT_NEAR(result->loss, theirs, 1e-4 * theirs) << "step " << i;
  }
  for (const auto& parameter : network.parameters()) {
    const at::Tensor theirs = named("final." + parameter.shape.name);
    EXPECT_LE((parameter.value - theirs).norm().item<double>(), 1e-4 * theirs.norm().item<double>())
        << parameter.shape.name;
  }
  communicator.barrier();
  communicator.close();
}

}  // namespace
}  // namespace slicereduce
