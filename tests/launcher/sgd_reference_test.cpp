#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/state_dict.hpp"
#include "core/text.hpp"
#include "sampling/sliced_sgd.hpp"

namespace slicereduce {
namespace {

/// torch.optim.SGD on given gradients (tests/peers/make_reference.py).
TEST(SlicedSgd, IsTorchOptimSgdWhereNothingIsSampled) {
  const StateDict reference =
      read_state_dict(std::filesystem::path(SLICEREDUCE_REFERENCE_DIR) / "sgd_reference.pt");
  const auto cases = tensor_named(reference, "cases", "").item<std::int64_t>();
  ASSERT_GT(cases, 3);
  for (std::int64_t i = 0; i < cases; ++i) {
    const auto of_case = [&](const std::string& name) {
      return tensor_named(reference, concat("case", i, ".", name), "");
    };
    std::vector<SlicedParameter> parameters{
        {.shape = {.name = "w", .sizes = {of_case("initial").numel()}, .vector = true},
         .value = of_case("initial").clone()}};
    SlicedSgd sgd(parameters, {},
                  {.momentum = of_case("momentum").item<double>(),
                   .weight_decay = of_case("weight_decay").item<double>(),
                   .nesterov = of_case("nesterov").item<bool>()});
    const at::Tensor gradients = of_case("grads");
    for (std::int64_t step = 0; step < gradients.size(0); ++step) {
      const std::vector<Gradient> gradient{gradients[step].contiguous()};
      sgd.apply(PlacedPlan(), gradient, of_case("lr").item<double>());
    }
    EXPECT_TRUE(at::allclose(parameters[0].value, of_case("final"), 1e-6, 1e-6)) << "case " << i;
    if (of_case("momentum").item<double>() > 0) {
      EXPECT_TRUE(at::allclose(sgd.momentum()[0], of_case("momentum_buffer"), 1e-6, 1e-6)) << "case " << i;
    }
  }
}

}  // namespace
}  // namespace slicereduce
