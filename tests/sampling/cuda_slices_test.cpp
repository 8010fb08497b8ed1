#include <gtest/gtest.h>

#include "core/device.hpp"
#include "tests/support/device_slices_contract.hpp"

// The kernels themselves.
namespace slicereduce {
namespace {

at::Device card() { return {at::kCUDA, 0}; }

class CudaSlices : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) {
      GTEST_SKIP() << "there is no CUDA device";
    }
    make_current(card());
  }
};

TEST_F(CudaSlices, AreServed) { EXPECT_TRUE(kernels::serve(card())); }
TEST_F(CudaSlices, Gather) { testing::expect_gathers(card()); }
TEST_F(CudaSlices, LeaveSharedMemoryAlone) { testing::expect_leaves_shared_memory_alone(card()); }
TEST_F(CudaSlices, UpdateWeights) { testing::expect_updates(card()); }
TEST_F(CudaSlices, RenewSquares) { testing::expect_renews_squares(card()); }
TEST_F(CudaSlices, TakeAndGiveBack) { testing::expect_takes_and_gives_back(card()); }
TEST_F(CudaSlices, ServeMoreParametersThanATableHolds) { testing::expect_serves_many_parameters(card()); }

}  // namespace
}  // namespace slicereduce
