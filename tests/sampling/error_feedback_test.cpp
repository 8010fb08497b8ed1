#include "sampling/error_feedback.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/error.hpp"
#include "sampling/indexed.hpp"
#include "tests/support/random_parameters.hpp"

namespace slicereduce {
namespace {

using testing::RandomParameters;

/// Everything that was sent and everything that came in, in float64.
struct Ledger {
  explicit Ledger(const RandomParameters& random) {
    for (const auto& parameter : random.parameters) {
      sent.push_back(at::zeros(parameter.shape.sizes, at::kDouble));
      gradients.push_back(at::zeros(parameter.shape.sizes, at::kDouble));
    }
  }

  void expect_balance(ErrorFeedback& feedback) const {
    for (std::size_t p = 0; p < sent.size(); ++p) {
      const at::Tensor owed = feedback.owed()[p];
      const at::Tensor total = owed.defined() ? sent[p] + owed.to(at::kDouble) : sent[p];
      EXPECT_TRUE(at::allclose(total, gradients[p], 1e-5, 1e-4)) << p;
    }
  }

  std::vector<at::Tensor> sent;
  std::vector<at::Tensor> gradients;
};

at::Tensor dense(const ParameterShape& shape, const PlacedPlan& plan, const at::Tensor& compact) {
  return scatter_slices(shape, plan, compact).to(at::kDouble);
}

TEST(ErrorFeedback, SentAndOwedAreTheSumOfAllGradients) {
  RandomParameters random(1);
  ErrorFeedback feedback(random.parameters.size());
  Ledger ledger(random);
  for (std::uint64_t step = 0; step < 100; ++step) {
    // Now and then a step that sends everything.
    const PlacedPlan plan(step % 10 == 9 ? Plan::full(random.sites) : random.random_plan(step), at::kCPU);
    const auto type = step % 3 == 0 ? at::kBFloat16 : at::kFloat;
    for (std::size_t p = 0; p < random.parameters.size(); ++p) {
      const auto& shape = random.parameters[p].shape;
      const at::Tensor gradient = at::randn(shape.sizes, random.generator).to(type);
      ledger.gradients[p] += gradient.to(at::kDouble);
      const at::Tensor slices = feedback.take(p, shape, plan, gradient.clone());
      EXPECT_EQ(slices.sizes().vec(), shape.compact_sizes(plan.plan()));
      const at::Tensor lost = random.normal(slices.sizes());
      ledger.sent[p] += dense(shape, plan, slices - lost);
      feedback.give_back(p, shape, plan, lost);
    }
  }
  ledger.expect_balance(feedback);
}

TEST(ErrorFeedback, TakesCompactGradientsWithWhatIsOwedOfTheirSlices) {
  RandomParameters random(2);
  ErrorFeedback feedback(random.parameters.size());
  Ledger ledger(random);
  for (std::uint64_t step = 0; step < 20; ++step) {
    const PlacedPlan plan(random.random_plan(step), at::kCPU);
    for (std::size_t p = 0; p < random.parameters.size(); ++p) {
      const auto& shape = random.parameters[p].shape;
      const at::Tensor gradient = random.normal(shape.compact_sizes(plan.plan()));
      ledger.gradients[p] += dense(shape, plan, gradient);
      const at::Tensor slices = feedback.take(p, shape, plan, gradient.clone());
      const at::Tensor lost = slices * 0.5;
      ledger.sent[p] += dense(shape, plan, slices - lost);
      feedback.give_back(p, shape, plan, lost.clone());
    }
  }
  ledger.expect_balance(feedback);
}

/// Factors for a matrix of the plan's sizes; nothing for a vector.
Gradient random_factors(const ParameterShape& shape, const Plan& plan, at::Generator& generator) {
  const auto sizes = shape.compact_sizes(plan);
  if (sizes.size() == 1) {
    return {};
  }
  return {at::randn({2, sizes[0]}, generator),
          at::randn({2, shape.compact_numel(plan) / sizes[0]}, generator)};
}

/// A plan that stays for some steps, with and without a look at what is owed in between: to the bit the same.
TEST(ErrorFeedback, KeepsWhatComesBackCompactWhileThePlanStays) {
  RandomParameters random(6);
  ErrorFeedback feedback(random.parameters.size());
  ErrorFeedback looked_at(random.parameters.size());
  Ledger ledger(random);
  for (std::uint64_t step = 0; step < 30; ++step) {
    const bool is_whole = step / 7 == 2;
    const PlacedPlan plan(is_whole ? Plan::full(random.sites) : random.random_plan(step / 7), at::kCPU);
    for (std::size_t p = 0; p < random.parameters.size(); ++p) {
      const auto& shape = random.parameters[p].shape;
      const at::Tensor gradient = random.normal(shape.compact_sizes(plan.plan()));
      ledger.gradients[p] += dense(shape, plan, gradient);
      const at::Tensor slices = feedback.take(p, shape, plan, gradient.clone());
      EXPECT_TRUE(slices.equal(looked_at.take(p, shape, plan, gradient.clone()))) << step << " " << p;
      const Gradient sent = random_factors(shape, plan.plan(), random.generator);
      if (sent.has_factors()) {
        ledger.sent[p] += dense(shape, plan, sent.dense());
      }
      feedback.give_back(p, shape, plan, slices.clone(), sent);
      looked_at.give_back(p, shape, plan, slices.clone(), sent);
    }
    (void)looked_at.owed();
  }
  ledger.expect_balance(feedback);
}

TEST(ErrorFeedback, WhatIsSentIsNoLongerOwedAndTheRestIs) {
  RandomParameters random(3);
  ErrorFeedback feedback(random.parameters.size());
  const PlacedPlan plan(random.random_plan(0), at::kCPU);
  for (std::size_t p = 0; p < random.parameters.size(); ++p) {
    const auto& shape = random.parameters[p].shape;
    const at::Tensor gradient = at::randn(shape.sizes, random.generator);
    const at::Tensor slices = feedback.take(p, shape, plan, gradient.clone());
    EXPECT_TRUE(at::equal(slices, testing::reference_slices(gradient, shape, plan.plan())));
    if (feedback.owed()[p].defined()) {
      EXPECT_TRUE(at::equal(feedback.owed()[p], gradient - scatter_slices(shape, plan, slices)));
    } else {
      EXPECT_TRUE(shape.whole(plan.plan()));
    }
    // Once more without a gradient: nothing of these slices is left.
    EXPECT_EQ(feedback.take(p, shape, plan, {}).abs().sum().item<double>(), 0);
  }
}

TEST(ErrorFeedback, BringsGradientsOfAnotherOrderIntoMemoryOrder) {
  RandomParameters random(7);
  const PlacedPlan plan(random.random_plan(0), at::kCPU);
  const auto& shape = random.parameters[0].shape;
  const auto compact = shape.compact_sizes(plan.plan());
  for (const auto& [first, second] :
       {std::pair(shape.sizes, shape.sizes), std::pair(compact, compact), std::pair(shape.sizes, compact)}) {
    ErrorFeedback feedback(1);
    ErrorFeedback same(1);
    for (const auto& sizes : {first, second}) {
      const at::Tensor gradient = at::randn(sizes, random.generator);
      const at::Tensor slices = feedback.take(0, shape, plan, gradient.clone());
      EXPECT_TRUE(slices.equal(same.take(0, shape, plan, gradient.contiguous(memory_format_of(sizes)))));
      feedback.give_back(0, shape, plan, slices.clone());
      same.give_back(0, shape, plan, slices.clone());
    }
    EXPECT_TRUE(feedback.owed()[0].equal(same.owed()[0]));
  }
}

TEST(ErrorFeedback, OwesNothingOnceItForgets) {
  RandomParameters random(4);
  ErrorFeedback feedback(random.parameters.size());
  const PlacedPlan plan(random.random_plan(1), at::kCPU);
  for (std::size_t p = 0; p < random.parameters.size(); ++p) {
    const auto& shape = random.parameters[p].shape;
    const at::Tensor none = at::full(shape.sizes, std::numeric_limits<float>::quiet_NaN());
    feedback.give_back(p, shape, plan, feedback.take(p, shape, plan, none));
  }
  feedback.forget();
  for (std::size_t p = 0; p < random.parameters.size(); ++p) {
    EXPECT_FALSE(feedback.owed()[p].defined());
    const auto& shape = random.parameters[p].shape;
    const at::Tensor gradient = random.normal(shape.compact_sizes(plan.plan()));
    EXPECT_TRUE(at::equal(feedback.take(p, shape, plan, gradient.clone()), gradient));
  }
}

TEST(ErrorFeedback, RefusesAGradientOfNeitherSize) {
  RandomParameters random(4);
  ErrorFeedback feedback(random.parameters.size());
  const PlacedPlan plan(random.random_plan(0), at::kCPU);
  const auto& shape = random.parameters[0].shape;
  EXPECT_THROW((void)feedback.take(0, shape, plan, at::zeros({5})), Error);
  EXPECT_THROW(feedback.give_back(0, shape, plan, at::zeros(shape.sizes)), Error);
}

TEST(ErrorFeedback, ByIndexingIsTheSame) {
  RandomParameters random(5);
  for (std::uint64_t step = 0; step < 5; ++step) {
    const PlacedPlan plan(random.random_plan(step), at::kCPU);
    for (const auto& [shape, value] : random.parameters) {
      if (shape.whole(plan.plan())) {
        continue;
      }
      ErrorFeedback feedback(1);
      const at::Tensor start = random.normal(shape.sizes);
      const at::Tensor owed = start.clone();
      feedback.owed()[0] = start.clone();
      for (const auto& sizes : {shape.sizes, shape.compact_sizes(plan.plan()), std::vector<std::int64_t>{}}) {
        const at::Tensor gradient = sizes.empty() ? at::Tensor() : random.normal(sizes);
        const at::Tensor slices = indexed::take_owed(owed, shape, plan, gradient);
        const at::Tensor expected =
            feedback.take(0, shape, plan, sizes.empty() ? gradient : gradient.clone());
        EXPECT_TRUE(at::allclose(slices, expected, 1e-6, 1e-6));
        indexed::owe(owed, shape, plan, slices * 0.5);
        feedback.give_back(0, shape, plan, expected * 0.5);
        EXPECT_TRUE(at::allclose(owed, feedback.owed()[0], 1e-6, 1e-6));
      }
    }
  }
}

}  // namespace
}  // namespace slicereduce
