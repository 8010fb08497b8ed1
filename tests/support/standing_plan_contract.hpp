#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "core/random.hpp"
#include "sampling/column_norms.hpp"
#include "sampling/sampler.hpp"
#include "sampling/standing_plan.hpp"
#include "tests/support/random_parameters.hpp"

namespace slicereduce::testing {

inline void expect_stands(at::Device device) {
  RandomParameters random(2);
  const Plan first = random.random_plan(0);
  StandingPlan standing(first, device);
  EXPECT_EQ(standing.placed().plan(), first);
  const auto* const where = standing.placed().indices().const_data_ptr();

  const auto expect_is = [&](const Plan& plan) {
    const PlacedPlan expected(plan, at::kCPU);
    for (std::size_t site = 0; site < random.sites.size(); ++site) {
      EXPECT_TRUE(at::equal(standing.placed().set(site)->kept.cpu(), expected.set(site)->kept));
    }
    EXPECT_EQ(standing.placed().indices().const_data_ptr(), where);
    standing.read(standing.placed().indices().cpu());
    EXPECT_EQ(standing.placed().plan(), plan);
    EXPECT_EQ(standing.placed().set(0)->set, plan.sets[0]);
  };
  expect_is(first);
  standing.set(random.random_plan(1));
  expect_is(random.random_plan(1));

  const auto norms = site_norms(random.sites, random.parameters);
  const SampleSize size{.ratio = 0.4, .minimal_k = 1, .channel_multiple = 1};
  const Plan topk = draw_plan(random.sites, norms, *make_sampler("topk"), size, 0, 0);
  ASSERT_TRUE(standing.fits(topk));
  standing.keep_largest(joined(norms).to(device));
  expect_is(topk);
}

}  // namespace slicereduce::testing
