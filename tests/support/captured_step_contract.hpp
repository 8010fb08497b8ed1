#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

#include "launcher/captured_step.hpp"
#include "sampling/tensor_digest.hpp"
#include "tests/support/training_contract.hpp"

/// What a captured step promises, on the device of a variant and however many ranks. Every rank calls these.
namespace slicereduce::testing {

struct CapturedTraining : Training {
  CapturedTraining(const Variant& variant, Communicator& communicator)
      : Training(variant, communicator),
        captured(network, sgd, communicator,
                 {.step = config_of(variant),
                  .reducer = small_buckets(variant, communicator),
                  .finds_largest = planner.sampler().keeps_largest()},
                 step) {}

  CapturedStep captured;
};

inline std::uint64_t digest_of_all(const Training& training) {
  std::vector<at::Tensor> all = training.network.values();
  for (const auto& tensors :
       {std::vector<at::Tensor>(training.sgd.momentum().begin(), training.sgd.momentum().end()),
        training.network.statistics().mean, training.network.statistics().variance}) {
    all.insert(all.end(), tensors.begin(), tensors.end());
  }
  return digest_of_tensors(all);
}

/// Sizes, plans and learning rates as a run has them: an epoch's last batch is smaller.
inline void expect_the_same_bits_captured(Communicator& communicator, const Variant& variant) {
  Training plain(variant, communicator);
  CapturedTraining training(variant, communicator);
  for (std::int64_t step = 0; step < 12; ++step) {
    const auto plans_of = [&](Training& of, const Plan* largest = nullptr) {
      return of.state.plans(step, variant.mode, variant.mode == Mode::dense ? 1.0 : variant.ratio, largest);
    };
    Microbatch own = plain.batch_of(step, communicator.rank());
    if (step % 6 == 3) {
      own = {.images = own.images.slice(0, 0, 3), .labels = own.labels.slice(0, 0, 3), .weight = 0.75};
    }
    const double lr = 0.05 / (1.0 + static_cast<double>(step));
    const std::vector<Microbatch> batch{own};
    const auto expected = plain.step.run(plans_of(plain), batch, lr);
    int calls = 0;
    const Plan* largest = training.captured.largest();
    EXPECT_EQ(largest != nullptr, step > 1 && step % 6 != 4 && training.planner.sampler().keeps_largest());
    const auto result =
        training.captured.run(plans_of(training, largest), batch, lr, false, [&] { ++calls; });
    ASSERT_TRUE(expected && result);
    EXPECT_EQ(result->loss, expected->loss) << "step " << step;
    EXPECT_EQ(result->wire_bytes, expected->wire_bytes);
    EXPECT_TRUE(result->finite);
    EXPECT_FALSE(result->stop_requested);
    EXPECT_EQ(digest_of_all(training), digest_of_all(plain)) << "step " << step;
    EXPECT_EQ(training.sgd.norms(), plain.sgd.norms());
    EXPECT_EQ(calls, step == 0 || step % 6 == 3 ? 0 : 1) << "step " << step;
    EXPECT_GE(result->times.exposed_comm_ms, 0);
    EXPECT_GT(result->times.backward_ms, 0);
  }
}

inline void expect_captured_steps_to_be_the_same_bits(Communicator& communicator, at::Device device) {
  for (const Variant& variant :
       {Variant{}, Variant{.sampler = "uniform", .looks_before_updates = true},
        Variant{.mode = Mode::dense, .wire = WireType::bf16, .precision = Precision::bf16},
        Variant{.coupling = Coupling::none, .wire = WireType::fp16, .overlap = false}}) {
    Variant there = variant;
    there.device = device;
    expect_the_same_bits_captured(communicator, there);
  }
}

/// What it is not made for is done as ever.
inline void expect_other_steps_to_be_run_as_ever(Communicator& communicator, at::Device device) {
  for (const Variant& variant : {Variant{.mode = Mode::feedback}, Variant{.sampler = "bernoulli"},
                                 Variant{.arch = "wrn-10-1", .dropout = 0.5}}) {
    Variant there = variant;
    there.device = device;
    Training plain(there, communicator);
    CapturedTraining training(there, communicator);
    for (std::int64_t step = 0; step < 4; ++step) {
      const std::vector<Microbatch> batch{plain.batch_of(step, communicator.rank())};
      const auto run_one = [&](auto& runner, Training& of) {
        return runner.run(of.state.plans(step, variant.mode, variant.ratio), batch, variant.lr).has_value();
      };
      ASSERT_TRUE(run_one(plain.step, plain) && run_one(training.captured, training));
      EXPECT_EQ(digest_of_all(training), digest_of_all(plain)) << "step " << step;
    }
  }
}

/// Three steps: from the second on they are of the kind that recurs.
inline void warm_up(CapturedTraining& training, const Plan& plan, const std::vector<Microbatch>& batch) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(training.captured.run({.network = plan}, batch, 0.05).has_value());
  }
}

inline void expect_captured_nonfinite_loss_changes_no_weight(Communicator& communicator, at::Device device) {
  for (const bool looks : {false, true}) {
    CapturedTraining training({.looks_before_updates = looks, .device = device}, communicator);
    const Plan plan = training.planner.plan(0, 0.5, training.sgd.norms());
    std::vector<Microbatch> batch{training.batch_of(0, communicator.rank())};
    warm_up(training, plan, batch);
    const std::uint64_t before = training.network.weights_digest();
    const std::uint64_t momentum = digest_of_tensors(training.sgd.momentum());
    const auto norms = training.sgd.norms();
    Microbatch spoiled = batch[0];
    spoiled.images = spoiled.images.clone();
    if (communicator.rank() == communicator.world_size() - 1) {
      spoiled.images.index_put_({0, 0, 0, 0}, std::numeric_limits<float>::infinity());
    }
    const auto result = training.captured.run({.network = plan}, std::vector{spoiled}, 0.05);
    ASSERT_TRUE(result.has_value());
    EXPECT_FALSE(result->finite);
    EXPECT_EQ(training.network.weights_digest(), before);
    EXPECT_EQ(digest_of_tensors(training.sgd.momentum()), momentum);
    EXPECT_EQ(training.sgd.norms(), norms);
    const auto next = training.captured.run({.network = plan}, batch, 0.05);
    EXPECT_TRUE(next.has_value() && next->finite);
    EXPECT_NE(training.network.weights_digest(), before);
  }
}

inline void expect_captured_overflow_on_the_wire_is_seen_where_it_is_looked_for(Communicator& communicator,
                                                                                at::Device device) {
  for (const bool looks : {true, false}) {
    CapturedTraining training(
        {.mode = Mode::dense, .wire = WireType::fp16, .looks_before_updates = looks, .device = device},
        communicator);
    const Plan plan = Plan::full(training.network.layout().sites);
    const std::vector<Microbatch> batch{training.batch_of(0, communicator.rank())};
    warm_up(training, plan, batch);
    for (const SlicedParameter& parameter : training.network.parameters()) {
      if (parameter.value.dim() == 1 && parameter.shape.name.ends_with(".weight")) {
        parameter.value.mul_(1e6);
      }
    }
    const std::uint64_t before = training.network.weights_digest();
    // Not what it has learned just now: there would be no gradient.
    const std::vector<Microbatch> others{training.batch_of(1, communicator.rank())};
    const auto result = training.captured.run({.network = plan}, others, 0.05);
    ASSERT_TRUE(result.has_value());
    EXPECT_TRUE(std::isfinite(result->loss));
    EXPECT_EQ(result->finite, !looks);
    EXPECT_EQ(training.network.weights_digest() == before, looks);
  }
}

inline void expect_captured_ranks_to_learn_of_each_other(Communicator& communicator, at::Device device) {
  CapturedTraining training({.sampler = "uniform", .device = device}, communicator);
  const Plan plan = training.planner.plan(0, 0.5, training.sgd.norms());
  const std::vector<Microbatch> batch{training.batch_of(0, communicator.rank())};
  warm_up(training, plan, batch);
  const bool is_last = communicator.rank() == communicator.world_size() - 1;
  for (const bool wish : {true, false}) {
    const auto result = training.captured.run({.network = plan}, batch, 0.05, wish && is_last);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->stop_requested, wish);
  }
  const Plan own = training.planner.plan(is_last ? 2 : 1, 0.5, training.sgd.norms());
  const auto disputed = training.captured.run({.network = own}, batch, 0.05);
  EXPECT_EQ(disputed.has_value(), communicator.world_size() == 1);
}

struct CapturedClause {
  const char* name;
  void (*run)(Communicator&, at::Device);
};

inline std::ostream& operator<<(std::ostream& out, const CapturedClause& clause) {
  return out << clause.name;
}

inline constexpr std::array kCapturedContract{
    CapturedClause{"TheSameBits", expect_captured_steps_to_be_the_same_bits},
    CapturedClause{"OtherStepsAsEver", expect_other_steps_to_be_run_as_ever},
    CapturedClause{"NonfiniteLossChangesNoWeight", expect_captured_nonfinite_loss_changes_no_weight},
    CapturedClause{"OverflowOnTheWireIsSeenWhereItIsLookedFor",
                   expect_captured_overflow_on_the_wire_is_seen_where_it_is_looked_for},
    CapturedClause{"RanksLearnOfEachOther", expect_captured_ranks_to_learn_of_each_other},
};

}  // namespace slicereduce::testing
