#include "sampling/device_slices.hpp"

#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "sampling/slice_kernels.hpp"
#include "tests/support/device_slices_contract.hpp"

// The kernels' programs, run by the CPU thread after thread. On a card: cuda_slices_test.cpp.
namespace slicereduce {
namespace {

TEST(DeviceSlices, Gather) { testing::expect_gathers(at::kCPU); }
TEST(DeviceSlices, LeaveSharedMemoryAlone) { testing::expect_leaves_shared_memory_alone(at::kCPU); }
TEST(DeviceSlices, UpdateWeights) { testing::expect_updates(at::kCPU); }
TEST(DeviceSlices, RenewSquares) { testing::expect_renews_squares(at::kCPU); }
TEST(DeviceSlices, SumAndTake) { testing::expect_sums_and_takes(at::kCPU); }
TEST(DeviceSlices, ReadALiveRate) { testing::expect_live_rate(at::kCPU); }
TEST(DeviceSlices, KeepWhatTopkKeeps) { testing::expect_keeps_largest(at::kCPU); }
TEST(DeviceSlices, KeepSomethingOfWhatIsNoNumber) {
  testing::expect_keeps_something_of_what_is_no_number(at::kCPU);
}
TEST(DeviceSlices, TakeAndGiveBack) { testing::expect_takes_and_gives_back(at::kCPU); }

TEST(DeviceSlices, DoNotServeTheCpu) { EXPECT_FALSE(kernels::serve(at::kCPU)); }

TEST(DeviceSlices, RefuseWhatTheyDoNotKnow) {
  const PlacedSet set({.channels = 3, .kept = {0, 2}, .scale = {}}, at::kCPU);
  EXPECT_THROW((void)kernels::take(at::randn({2, 3}).to(at::kDouble), set), Error);
  EXPECT_THROW((void)kernels::take(at::randn({2, 3}).to(at::kHalf), set), Error);
}

TEST(KernelTable, CountsBlocksUntilItIsFull) {
  kernels::Table<kernels::NormEntry> table;
  kernels::NormEntry entry;
  entry.channels = kernels::kThreadsPerBlock + 1;
  std::int32_t added = 0;
  while (table.add(entry)) {
    ++added;
  }
  EXPECT_EQ(added, kernels::Table<kernels::NormEntry>::kCapacity);
  EXPECT_EQ(table.blocks(), 2 * added);
  EXPECT_EQ(table.first_block[1], 2);
}

TEST(KernelTable, HasNoMoreBlocksThanALaunch) {
  kernels::Table<kernels::UpdateEntry> table;
  kernels::UpdateEntry entry;
  entry.all_rows = kernels::UpdateEntry::kRowsPerGroup * kernels::kThreadsPerBlock;
  entry.all_columns = 1 << 30;
  EXPECT_TRUE(table.add(entry));
  EXPECT_FALSE(table.add(entry));
  EXPECT_EQ(table.count, 1);
}

TEST(KernelTable, OfAnActivationHasOneEntry) {
  kernels::Table<kernels::TakeEntry> table;
  const kernels::TakeEntry entry{.channels = {.indices = nullptr, .count = 1}};
  EXPECT_TRUE(table.add(entry));
  EXPECT_FALSE(table.add(entry));
  EXPECT_LT(sizeof(table), 512U);
}

TEST(Kept, FindsPlaces) {
  const std::vector<std::int64_t> indices{2, 3, 7};
  const kernels::Kept some{.indices = indices.data(), .count = 3};
  const kernels::Kept all{.indices = nullptr, .count = 5};
  const std::vector<std::int32_t> expected{0, 0, 0, 1, 2, 2, 2, 2, 3, 3};
  for (std::int64_t i = 0; i < 10; ++i) {
    EXPECT_EQ(some.first_from(i), expected[static_cast<std::size_t>(i)]) << i;
    EXPECT_EQ(all.first_from(i), std::min<std::int64_t>(i, 5)) << i;
  }
  EXPECT_TRUE(some.has(1, 3));
  EXPECT_FALSE(some.has(1, 4));
  EXPECT_FALSE(some.has(3, 8));
  EXPECT_TRUE(all.has(4, 4));
}

}  // namespace
}  // namespace slicereduce
