#include "comm/bucket_layout.hpp"

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {
namespace {

constexpr std::int64_t kAlignmentBytes = 64;  // a cache line, and the widest vector

std::int64_t aligned(std::int64_t numel, WireType type) {
  const std::int64_t step = kAlignmentBytes / static_cast<std::int64_t>(wire_size(type));
  return (numel + step - 1) / step * step;
}

void check_capacity(const char* name, std::int64_t bytes, WireType type) {
  const auto size = static_cast<std::int64_t>(wire_size(type));
  if (bytes < size) {
    throw Error(ErrorKind::usage, concat(name, " of ", bytes, " bytes: expected at least ", size,
                                         ", one number of ", wire_name(type), " (--bucket-mb)"));
  }
}

/// The first of the slots that go out last, in at most `room` numbers; none of them where all would fit.
std::size_t first_of_last(std::span<const std::int64_t> numels, std::int64_t room) {
  std::size_t first = numels.size();
  for (std::int64_t sum = 0; first > 0 && sum + numels[first - 1] <= room; --first) {
    sum += numels[first - 1];
  }
  return first == 0 ? numels.size() : first;
}

}  // namespace

void BucketCapacity::validate(WireType type) const {
  check_capacity("a bucket", bytes, type);
  check_capacity("a first bucket", first_bytes, type);
  check_capacity("a last bucket", last_bytes, type);
}

BucketLayout lay_out_buckets(std::span<const std::int64_t> numels, WireType type,
                             const BucketCapacity& capacity) {
  capacity.validate(type);
  const auto size = static_cast<std::int64_t>(wire_size(type));
  BucketLayout layout;
  std::int64_t payload = 0;
  const std::size_t last_begins = first_of_last(numels, capacity.last_bytes / size);
  for (std::size_t slot = 0; slot < numels.size(); ++slot) {
    const std::int64_t numel = numels[slot];
    require(numel >= 0, "a slot has a negative number of elements");
    const bool in_first = layout.buckets.size() <= 1;
    const std::int64_t room = (in_first ? capacity.first_bytes : capacity.bytes) / size;
    if (layout.buckets.empty() || (layout.buckets.back().numel > 0 &&
                                   (layout.buckets.back().numel + numel > room || slot == last_begins))) {
      if (!layout.buckets.empty()) {
        layout.storage_numel = aligned(layout.storage_numel, type);
      }
      layout.buckets.push_back({.slots = 0, .offset = layout.storage_numel, .numel = 0});
    }
    Bucket& bucket = layout.buckets.back();
    layout.slots.push_back(
        {.bucket = layout.buckets.size() - 1, .offset = bucket.offset + bucket.numel, .numel = numel});
    ++bucket.slots;
    bucket.numel += numel;
    layout.storage_numel += numel;
    payload += numel;
  }
  layout.wire_bytes = payload * size;
  return layout;
}

}  // namespace slicereduce
