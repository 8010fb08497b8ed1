#include "comm/bucket_layout.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/support/expect_error.hpp"

namespace slicereduce {
namespace {

std::vector<std::size_t> buckets_of(const BucketLayout& layout) {
  std::vector<std::size_t> buckets;
  buckets.reserve(layout.slots.size());
  for (const auto& slot : layout.slots) {
    buckets.push_back(slot.bucket);
  }
  return buckets;
}

BucketLayout lay_out(const std::vector<std::int64_t>& numels, WireType type, BucketCapacity capacity) {
  return lay_out_buckets(numels, type, capacity);
}

TEST(BucketLayout, ClosesABucketWhenTheNextSlotWouldOverflowIt) {
  const auto layout = lay_out({6, 4, 1, 10}, WireType::fp32, {.bytes = 40, .first_bytes = 40});
  EXPECT_EQ(buckets_of(layout), (std::vector<std::size_t>{0, 0, 1, 2}));
  EXPECT_EQ(layout.buckets[0].numel, 10);
  EXPECT_EQ(layout.buckets[0].slots, 2U);
}

TEST(BucketLayout, TheFirstBucketHasItsOwnCapacity) {
  const auto layout = lay_out({2, 2, 2, 2, 2}, WireType::fp32, {.bytes = 32, .first_bytes = 8});
  EXPECT_EQ(buckets_of(layout), (std::vector<std::size_t>{0, 1, 1, 1, 1}));
}

TEST(BucketLayout, TheLastSlotsGoOutOnTheirOwn) {
  const std::vector<std::int64_t> numels{2, 2, 2, 2, 1, 1};
  const auto layout = lay_out(numels, WireType::fp32, {.bytes = 1000, .first_bytes = 1000, .last_bytes = 12});
  EXPECT_EQ(buckets_of(layout), (std::vector<std::size_t>{0, 0, 0, 0, 1, 1}));
  // A last slot that is larger goes with those before it; and all of them are no last part.
  EXPECT_EQ(lay_out(numels, WireType::fp32, {.bytes = 99, .first_bytes = 99, .last_bytes = 4}).buckets.size(),
            2U);
  EXPECT_EQ(lay_out({2, 2}, WireType::fp32, {.bytes = 99, .first_bytes = 99, .last_bytes = 4}).buckets.size(),
            1U);
  EXPECT_EQ(
      lay_out({2, 2}, WireType::fp32, {.bytes = 99, .first_bytes = 99, .last_bytes = 16}).buckets.size(), 1U);
}

TEST(BucketLayout, CapacityIsInBytesOfTheWireType) {
  const auto layout = lay_out({2, 2, 2, 2}, WireType::bf16, {.bytes = 8, .first_bytes = 8});
  EXPECT_EQ(buckets_of(layout), (std::vector<std::size_t>{0, 0, 1, 1}));
}

TEST(BucketLayout, ALargeSlotHasABucketOfItsOwn) {
  const auto layout = lay_out({1, 100, 1, 1, 100}, WireType::fp32, {.bytes = 16, .first_bytes = 16});
  EXPECT_EQ(buckets_of(layout), (std::vector<std::size_t>{0, 1, 2, 2, 3}));
}

TEST(BucketLayout, ALargeFirstSlotLeavesNoEmptyBucketBefore) {
  const auto layout = lay_out({100, 1}, WireType::fp32, {.bytes = 16, .first_bytes = 16});
  EXPECT_EQ(buckets_of(layout), (std::vector<std::size_t>{0, 1}));
}

TEST(BucketLayout, EmptySlotsAreCarriedAlong) {
  const auto layout = lay_out({0, 4, 0, 4, 0}, WireType::fp32, {.bytes = 16, .first_bytes = 16});
  EXPECT_EQ(buckets_of(layout), (std::vector<std::size_t>{0, 0, 0, 1, 1}));
  EXPECT_EQ(layout.wire_bytes, 32);
}

TEST(BucketLayout, NoSlotsAreNoBuckets) {
  const auto layout = lay_out({}, WireType::fp32, {});
  EXPECT_TRUE(layout.buckets.empty());
  EXPECT_EQ(layout.storage_numel, 0);
  EXPECT_EQ(layout.wire_bytes, 0);
}

TEST(BucketLayout, EverySlotHasItsPlaceAndNothingButPayloadIsSent) {
  for (const WireType type : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    std::vector<std::int64_t> numels(200);
    for (std::size_t i = 0; i < numels.size(); ++i) {
      numels[i] = static_cast<std::int64_t>(i * i * 7919 % 25);
    }
    const auto layout = lay_out(numels, type, {.bytes = 600, .first_bytes = 100});
    const auto size = static_cast<std::int64_t>(wire_size(type));
    std::int64_t payload = 0;
    std::size_t slot = 0;
    std::int64_t storage_end = 0;
    for (std::size_t index = 0; index < layout.buckets.size(); ++index) {
      const Bucket& bucket = layout.buckets[index];
      EXPECT_EQ(bucket.offset * size % 64, 0);
      EXPECT_GE(bucket.offset, storage_end);
      std::int64_t end = bucket.offset;
      for (const std::size_t last = slot + bucket.slots; slot < last; ++slot) {
        EXPECT_EQ(layout.slots[slot].bucket, index);
        EXPECT_EQ(layout.slots[slot].offset, end);
        EXPECT_EQ(layout.slots[slot].numel, numels[slot]);
        end += numels[slot];
      }
      EXPECT_EQ(bucket.numel, end - bucket.offset);
      EXPECT_LE(bucket.numel * size, index == 0 ? 100 : 600);
      payload += bucket.numel * size;
      storage_end = end;
    }
    EXPECT_EQ(slot, numels.size());
    EXPECT_EQ(layout.storage_numel, storage_end);
    EXPECT_EQ(layout.wire_bytes, payload);
    EXPECT_EQ(layout.wire_bytes, std::accumulate(numels.begin(), numels.end(), std::int64_t{0}) * size);
  }
}

TEST(BucketLayout, RefusesACapacityThatHoldsNoNumber) {
  testing::expect_error_from([] { (void)lay_out({1}, WireType::fp32, {.bytes = 3, .first_bytes = 4}); },
                             ErrorKind::usage, "a bucket of 3 bytes");
  testing::expect_error_from([] { (void)lay_out({1}, WireType::bf16, {.bytes = 2, .first_bytes = 0}); },
                             ErrorKind::usage, "a first bucket of 0 bytes");
}

TEST(BucketLayout, RefusesANegativeSlot) {
  testing::expect_error_from([] { (void)lay_out({-1}, WireType::fp32, {}); }, ErrorKind::invariant,
                             "negative");
}

}  // namespace
}  // namespace slicereduce
