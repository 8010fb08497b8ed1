#include "core/units.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace slicereduce {
namespace {

TEST(Units, BytesAreDecimal) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1'000), "1.0 kB");
  EXPECT_EQ(format_bytes(1'500'000), "1.5 MB");
  EXPECT_EQ(format_bytes(46.8e6), "46.8 MB");
  EXPECT_EQ(format_bytes(2.5e12), "2.5 TB");
  EXPECT_EQ(format_bytes(5e18), "5000.0 PB");
}

TEST(Units, RoundingNeverShowsAThousand) {
  EXPECT_EQ(format_bytes(999.6), "1.0 kB");
  EXPECT_EQ(format_bytes(999'949), "999.9 kB");
  EXPECT_EQ(format_bytes(999'960), "1.0 MB");
}

TEST(Units, CountsHaveNoUnit) {
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(1'234), "1.2 k");
  EXPECT_EQ(format_count(11.69e6), "11.7 M");
  EXPECT_EQ(format_count(-1'234), "-1.2 k");
}

TEST(Units, DurationsShowHoursWhereThereAreAny) {
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(5.4), "0:05");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(65), "1:05");
  EXPECT_EQ(format_duration(3599.6), "1:00:00");
  EXPECT_EQ(format_duration(7'384), "2:03:04");
  EXPECT_EQ(format_duration(100 * 3600), "100:00:00");
}

TEST(Units, WhatIsNoNumberIsAQuestionMark) {
  EXPECT_EQ(format_bytes(std::nan("")), "?");
  EXPECT_EQ(format_count(INFINITY), "?");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(1e300), "?");
}

}  // namespace
}  // namespace slicereduce
