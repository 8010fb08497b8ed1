#include "launcher/mode.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace slicereduce {
namespace {

TEST(RatioSchedule, IsReadOrRefused) {
  EXPECT_EQ(parse_ratio_schedule("0:0.5,80:1.0"), (EpochSchedule<double>{{0, 0.5}, {80, 1.0}}));
  EXPECT_TRUE(parse_ratio_schedule("").empty());
  for (const char* bad :
       {"0.5", "0:0", "0:1.5", "5:0.5,3:1", "0:0.5,x", "0:0.5:3", "-1:0.5", "0:nan", "0:0.5 0.6"}) {
    EXPECT_THROW((void)parse_ratio_schedule(bad), Error) << bad;
  }
}

TEST(SizeSchedule, IsReadOrRefused) {
  EXPECT_EQ(parse_size_schedule("0:128,6:224"), (EpochSchedule<std::int64_t>{{0, 128}, {6, 224}}));
  for (const char* bad :
       {"128", "0:0", "0:12.5", "0:4097", "5:128,3:224", "0:128,6.5:224", "0:-3", "0:128:1"}) {
    EXPECT_THROW((void)parse_size_schedule(bad), Error) << bad;
  }
}

TEST(ModeSchedule, IsReadOrRefused) {
  EXPECT_EQ(parse_mode_schedule("0:compact,2:feedback,7:approximate,80:dense"),
            (EpochSchedule<Mode>{
                {0, Mode::compact}, {2, Mode::feedback}, {7, Mode::approximate}, {80, Mode::dense}}));
  for (const char* bad :
       {"compact", "0:", "0:sparse", "5:dense,3:compact", "0:compact,0.5:dense", "0:dense:1"}) {
    EXPECT_THROW((void)parse_mode_schedule(bad), Error) << bad;
  }
}

TEST(EpochSchedule, HoldsFromItsEpochOn) {
  const EpochSchedule<Mode> schedule = parse_mode_schedule("2:feedback,5:dense");
  EXPECT_EQ(value_at(schedule, 1, Mode::compact), Mode::compact);
  EXPECT_EQ(value_at(schedule, 2, Mode::compact), Mode::feedback);
  EXPECT_EQ(value_at(schedule, 90, Mode::compact), Mode::dense);
}

TEST(Mode, NamesComeBack) {
  for (const Mode mode : kModes) {
    EXPECT_EQ(parse_mode(to_string(mode)), mode);
  }
  EXPECT_THROW((void)parse_mode("sparse"), Error);
}

}  // namespace
}  // namespace slicereduce
