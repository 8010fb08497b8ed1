#include "sampling/column_norms.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include "tests/support/random_parameters.hpp"

namespace slicereduce {
namespace {

TEST(SiteNorms, AreThoseOfAllWeightsThatReadTheSite) {
  testing::RandomParameters random(4);
  const auto norms = site_norms(random.sites, random.parameters);
  const auto squares = [&](std::size_t p) {
    const at::Tensor value = random.parameters[p].value.to(at::kDouble);
    return value.dim() == 4 ? value.square().sum({0, 2, 3}) : value.square().sum(0);
  };
  const at::Tensor a = (squares(0) + squares(4)).sqrt();  // conv1 and fc read site a
  const at::Tensor b = squares(2).sqrt();                 // conv2 reads b; bn1 is cut by it but reads nothing
  for (std::int64_t c = 0; c < a.numel(); ++c) {
    EXPECT_NEAR(norms[0][c], a[c].item<double>(), 1e-5 * a[c].item<double>());
  }
  for (std::int64_t c = 0; c < b.numel(); ++c) {
    EXPECT_NEAR(norms[1][c], b[c].item<double>(), 1e-5 * b[c].item<double>());
  }
}

TEST(ColumnSquares, CoversEveryRowOnce) {
  for (const std::int64_t rows : {1, 7, 300, 513}) {
    const ParameterShape shape{.name = "w", .sizes = {rows, 200, 3, 3}};
    const ColumnSquares squares(shape);
    std::int64_t next = 0;
    for (std::int64_t block = 0; block < squares.blocks(); ++block) {
      EXPECT_EQ(squares.first_row(block), next);
      EXPECT_GT(squares.end_row(block), next);
      next = squares.end_row(block);
    }
    EXPECT_EQ(next, rows);
  }
}

}  // namespace
}  // namespace slicereduce
