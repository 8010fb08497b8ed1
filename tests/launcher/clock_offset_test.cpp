#include "launcher/clock_offset.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "tests/support/in_process_ranks.hpp"

namespace slicereduce {
namespace {

using testing::run_ranks;

std::int64_t now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

TEST(MeasureClock, FindsHowFarClocksAreApartWithinItsBound) {
  run_ranks(4, [](Communicator& communicator) {
    // Hours, as between hosts that were started at different times, and to both sides.
    const std::int64_t ahead =
        3'600'000'000'000 * std::int64_t{communicator.rank() % 2 == 0 ? -1 : 2} * communicator.rank();
    const ClockOffset offset = measure_clock(communicator, [&] { return now() + ahead; });
    EXPECT_LE(std::abs(offset.to_rank0 + ahead), offset.bound);
    EXPECT_LT(offset.bound, 1'000'000'000);
  });
}

TEST(MeasureClock, OfRank0IsItsOwn) {
  run_ranks(1, [](Communicator& communicator) {
    const ClockOffset offset = measure_clock(communicator, now);
    EXPECT_EQ(offset.to_rank0, 0);
    EXPECT_EQ(offset.bound, 0);
  });
}

TEST(AtRank0, TakesTheOffsetToChangeEvenly) {
  const ClockOffset earlier{.at = 1000, .to_rank0 = 500};
  const ClockOffset later{.at = 2000, .to_rank0 = 600};
  EXPECT_EQ(at_rank0(1000, earlier, later), 1500);
  EXPECT_EQ(at_rank0(1500, earlier, later), 2050);
  EXPECT_EQ(at_rank0(2000, earlier, later), 2600);
  EXPECT_EQ(at_rank0(2100, earlier, later), 2710);
}

TEST(AtRank0, TakesOneMeasurementForBoth) {
  const ClockOffset only{.at = 1000, .to_rank0 = -7};
  EXPECT_EQ(at_rank0(5000, only, only), 4993);
}

}  // namespace
}  // namespace slicereduce
