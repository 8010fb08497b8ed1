#include "sampling/memory_order.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace slicereduce {
namespace {

TEST(MemoryOrder, OfAConvolutionIsRowsTapsColumns) {
  const at::Tensor weight = at::randn({5, 4, 3, 2}).contiguous(memory_format_of({5, 4, 3, 2}));
  const at::Tensor numbers = in_memory_order(weight);
  for (std::int64_t row = 0; row < 5; ++row) {
    for (std::int64_t tap = 0; tap < 6; ++tap) {
      for (std::int64_t column = 0; column < 4; ++column) {
        EXPECT_EQ(numbers[(row * 6 + tap) * 4 + column].item<float>(),
                  weight[row][column][tap / 2][tap % 2].item<float>());
      }
    }
  }
}

TEST(MemoryOrder, ComesAndGoesWithoutACopy) {
  for (const std::vector<std::int64_t>& sizes :
       {std::vector<std::int64_t>{5, 4, 3, 2}, {5, 4, 1, 1}, {5, 1, 3, 3}, {1, 4, 3, 3}, {5, 4}, {7}}) {
    const at::Tensor tensor = at::randn(sizes).contiguous(memory_format_of(sizes));
    const at::Tensor back = with_sizes(in_memory_order(tensor), sizes);
    EXPECT_EQ(back.const_data_ptr(), tensor.const_data_ptr());
    EXPECT_TRUE(back.equal(tensor));
    EXPECT_TRUE(back.is_contiguous(memory_format_of(sizes)));
  }
}

TEST(MemoryOrder, RefusesAnother) {
  EXPECT_THROW((void)in_memory_order(at::zeros({5, 4, 3, 3})), Error);
  EXPECT_THROW((void)in_memory_order(at::zeros({4, 5}).t()), Error);
}

TEST(Rows, GatherRoundsAndScatterIsItsInverse) {
  const std::vector<float> row{1.0F, 1.0F + 0x1p-12F, 3.0F, 4.0F};
  const std::vector<std::int32_t> places{1, 3};
  std::vector<at::BFloat16> compact(2);
  gather_row(row.data(), places, compact.data());
  std::vector<float> spread(4, 0.0F);
  scatter_row(compact.data(), places, spread.data());
  EXPECT_EQ(spread, (std::vector<float>{0, 1, 0, 4}));
}

}  // namespace
}  // namespace slicereduce
