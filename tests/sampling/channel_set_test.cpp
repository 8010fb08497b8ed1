#include "sampling/channel_set.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace slicereduce {
namespace {

TEST(ChannelSet, AllIsFull) {
  const ChannelSet set = ChannelSet::all(5);
  set.check();
  EXPECT_TRUE(set.full());
  EXPECT_EQ(set.kept, (std::vector<std::int32_t>{0, 1, 2, 3, 4}));
}

TEST(ChannelSet, ScaledOrPartialIsNotFull) {
  EXPECT_FALSE((ChannelSet{.channels = 3, .kept = {0, 2}, .scale = {}}.full()));
  EXPECT_FALSE((ChannelSet{.channels = 2, .kept = {0, 1}, .scale = {1.5F, 1.0F}}.full()));
}

TEST(ChannelSet, CheckRefusesWhatIsNotASet) {
  EXPECT_THROW((ChannelSet{.channels = 3, .kept = {}, .scale = {}}.check()), Error);
  EXPECT_THROW((ChannelSet{.channels = 3, .kept = {1, 1}, .scale = {}}.check()), Error);
  EXPECT_THROW((ChannelSet{.channels = 3, .kept = {2, 1}, .scale = {}}.check()), Error);
  EXPECT_THROW((ChannelSet{.channels = 3, .kept = {1, 3}, .scale = {}}.check()), Error);
  EXPECT_THROW((ChannelSet{.channels = 3, .kept = {-1, 2}, .scale = {}}.check()), Error);
  EXPECT_THROW((ChannelSet{.channels = 3, .kept = {0, 2}, .scale = {1.0F}}.check()), Error);
}

}  // namespace
}  // namespace slicereduce
