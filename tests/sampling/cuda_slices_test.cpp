#include <gtest/gtest.h>

#include "core/device.hpp"
#include "tests/support/device_slices_contract.hpp"
#include "tests/support/standing_plan_contract.hpp"

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
TEST_F(CudaSlices, SumAndTake) { testing::expect_sums_and_takes(card()); }
TEST_F(CudaSlices, ReadALiveRate) { testing::expect_live_rate(card()); }
TEST_F(CudaSlices, KeepWhatTopkKeeps) { testing::expect_keeps_largest(card()); }
TEST_F(CudaSlices, FollowAStandingPlan) { testing::expect_stands(card()); }
TEST_F(CudaSlices, KeepSomethingOfWhatIsNoNumber) {
  testing::expect_keeps_something_of_what_is_no_number(card());
}
TEST_F(CudaSlices, TakeAndGiveBack) { testing::expect_takes_and_gives_back(card()); }
TEST_F(CudaSlices, ServeMoreParametersThanATableHolds) { testing::expect_serves_many_parameters(card()); }

}  // namespace
}  // namespace slicereduce
