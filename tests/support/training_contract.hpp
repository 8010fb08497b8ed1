#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "comm/communicator.hpp"
#include "launcher/consensus.hpp"
#include "launcher/training_step.hpp"
#include "models/cost.hpp"
#include "sampling/planner.hpp"
#include "tests/support/tiny_network.hpp"

/// What a training step promises, on however many ranks the communicator has. Every rank calls these.
namespace slicereduce::testing {

struct Variant {
  std::string arch = "resnet20";
  Coupling coupling = Coupling::block;
  std::string sampler = "topk";
  double ratio = 0.5;
  WireType wire = WireType::fp32;
  ReduceWhat reduce = ReduceWhat::slices;
  Precision precision = Precision::fp32;
  bool overlap = true;
  at::Device device = at::kCPU;
};

/// A network in training on one rank, with a few small buckets so that there is something to overlap.
class Training {
 public:
  Training(const Variant& variant, Communicator& communicator)
      : variant_(variant),
        communicator_(communicator),
        network(layout_of(variant.arch, variant.coupling), 3, variant.device),
        sgd(network.parameters(), network.layout().sites, {.momentum = 0.9, .weight_decay = 0.01}),
        planner(network.layout().sites, {.sampler = variant.sampler, .size = {.ratio = variant.ratio}}, 5),
        reducer(communicator, {.wire = variant.wire,
                               .bucket_bytes = 100'000,
                               .first_bucket_bytes = 10'000,
                               .overlap = variant.overlap,
                               .timeout = std::chrono::seconds(60)}),
        step(network, sgd, reducer, {.precision = variant.precision, .reduce = variant.reduce}) {}

  /// Each rank has images of its own, the same ones at the same step of every training.
  StepResult train_one() { return train_one(planner.plan(steps_, variant_.ratio, sgd.norms())); }

  StepResult train_one(const Plan& plan) {
    at::Generator generator =
        at::detail::createCPUGenerator(1000 * steps_ + static_cast<std::uint64_t>(communicator_.rank()));
    const at::Tensor images = at::randn({4, 3, 16, 16}, generator).contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor labels = at::randint(0, 10, {4}, generator, at::kLong);
    const auto result = step.run(plan, images.to(network.device()), labels.to(network.device()), 1.0, 0.05);
    EXPECT_TRUE(result.has_value());
    ++steps_;
    return *result;
  }

  void take_state_of(const Training& other) {
    for (std::size_t p = 0; p < network.parameters().size(); ++p) {
      network.parameters()[p].value.copy_(other.network.parameters()[p].value);
      sgd.momentum()[p].copy_(other.sgd.momentum()[p]);
    }
    sgd.refresh_norms();
  }

  void expect_replicas_equal() {
    require_agreement(communicator_, {{"weights", std::to_string(network.weights_digest())}});
  }

 private:
  Variant variant_;
  Communicator& communicator_;
  std::uint64_t steps_ = 0;

 public:
  Network network;
  SlicedSgd sgd;
  Planner planner;
  Reducer reducer;
  TrainingStep step;
};

inline double relative_distance(const Network& a, const Network& b) {
  double distance = 0;
  double norm = 0;
  for (std::size_t p = 0; p < a.parameters().size(); ++p) {
    const at::Tensor reference = b.parameters()[p].value.cpu();
    distance += (a.parameters()[p].value.cpu() - reference).square().sum().item<double>();
    norm += reference.square().sum().item<double>();
  }
  return std::sqrt(distance / norm);
}

/// The same sampled network, its gradient reduced as slices or among the zeros of the dense one. Sums of two
/// are the same bits whatever is beside them. A ring over more ranks cuts the two at other places and sums in
/// another order: then each step, from the same state, agrees to the rounding of that sum. (Compared over
/// many steps they part, since a rounding error can change which of two near-equal channels top-k keeps.)
inline void expect_slices_equal_dense(Communicator& communicator) {
  Training slices({}, communicator);
  Training dense({.reduce = ReduceWhat::dense}, communicator);
  for (int i = 0; i < 5; ++i) {
    EXPECT_LT(slices.train_one().wire_bytes, dense.train_one().wire_bytes);
    if (communicator.world_size() <= 2) {
      ASSERT_EQ(slices.network.weights_digest(), dense.network.weights_digest()) << "step " << i;
    } else {
      EXPECT_LT(relative_distance(slices.network, dense.network), 1e-6) << "step " << i;
      dense.take_state_of(slices);
    }
  }
}

/// Each step from the same state, on the same sets: equal to rounding.
inline void expect_coupled_trains_like_uncoupled(Communicator& communicator) {
  Training coupled({}, communicator);
  Training uncoupled({.coupling = Coupling::none}, communicator);
  for (int i = 0; i < 3; ++i) {
    const Plan plan = coupled.planner.plan(static_cast<std::uint64_t>(i), 0.5, coupled.sgd.norms());
    const StepResult a = coupled.train_one(plan);
    const StepResult b = uncoupled.train_one(plan);
    EXPECT_NEAR(a.loss, b.loss, 1e-5 * b.loss);
    EXPECT_LT(a.wire_bytes, b.wire_bytes);
    EXPECT_LT(relative_distance(coupled.network, uncoupled.network), 1e-5) << "step " << i;
    uncoupled.take_state_of(coupled);
  }
}

inline void expect_wire_bytes_of_the_plan(Communicator& communicator) {
  for (const WireType wire : {WireType::fp32, WireType::bf16}) {
    for (const Coupling coupling : {Coupling::block, Coupling::none}) {
      for (const double ratio : {0.25, 0.5, 1.0}) {
        Training training({.coupling = coupling, .ratio = ratio, .wire = wire}, communicator);
        const Layout& layout = training.network.layout();
        const auto cost = total_cost(layer_costs(layout, plan_of_size(layout, {.ratio = ratio}), 16));
        EXPECT_EQ(training.train_one().wire_bytes, cost.numel * static_cast<std::int64_t>(wire_size(wire)));
      }
    }
  }
}

inline void expect_overlap_changes_nothing(Communicator& communicator) {
  Training on({}, communicator);
  Training off({.overlap = false}, communicator);
  for (int i = 0; i < 3; ++i) {
    (void)on.train_one();
    (void)off.train_one();
  }
  EXPECT_EQ(on.network.weights_digest(), off.network.weights_digest());
}

inline void expect_replicas_stay_equal(Communicator& communicator) {
  for (const auto& sampler : sampler_names()) {
    Training training({.sampler = sampler, .wire = WireType::bf16}, communicator);
    for (int i = 0; i < 4; ++i) {
      (void)training.train_one();
      training.expect_replicas_equal();
    }
  }
  Training lowered({.wire = WireType::fp16, .precision = Precision::bf16}, communicator);
  for (int i = 0; i < 4; ++i) {
    (void)lowered.train_one();
    lowered.expect_replicas_equal();
  }
}

/// A rank that was told to stop tells the others with its step.
inline void expect_wish_to_stop_reaches_all(Communicator& communicator) {
  Training training({}, communicator);
  const Plan plan = training.planner.plan(0, 0.5, training.sgd.norms());
  const at::Tensor labels = at::zeros({2}, at::kLong);
  for (const bool wish : {false, true}) {
    const bool mine = wish && communicator.rank() == communicator.world_size() - 1;
    const auto result = training.step.run(plan, random_images(2, 16), labels, 1.0, 0.05, mine);
    EXPECT_EQ(result.value().stop_requested, wish);
  }
}

/// A rank that comes with another plan is found before anything is reduced, and no weight changes.
inline void expect_disagreement_is_found(Communicator& communicator) {
  Training training({.sampler = "uniform"}, communicator);
  const std::uint64_t before = training.network.weights_digest();
  const auto own_step =
      static_cast<std::uint64_t>(communicator.rank() == communicator.world_size() - 1 ? 1 : 0);
  const Plan plan = training.planner.plan(own_step, 0.5, training.sgd.norms());
  const at::Tensor images = random_images(2, 16);
  const at::Tensor labels = at::zeros({2}, at::kLong);
  const auto result = training.step.run(plan, images, labels, 1.0, 0.05);
  EXPECT_EQ(result.has_value(), communicator.world_size() == 1);
  if (communicator.world_size() > 1) {
    EXPECT_EQ(training.network.weights_digest(), before);
  }
  const Plan agreed = training.planner.plan(2, 0.5, training.sgd.norms());
  EXPECT_TRUE(training.step.run(agreed, images, labels, 1.0, 0.05).has_value());
}

}  // namespace slicereduce::testing
