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

}  // namespace

void BucketCapacity::validate(WireType type) const {
  check_capacity("a bucket", bytes, type);
  check_capacity("a first bucket", first_bytes, type);
}

BucketLayout lay_out_buckets(std::span<const std::int64_t> numels, WireType type,
                             const BucketCapacity& capacity) {
  capacity.validate(type);
  const auto size = static_cast<std::int64_t>(wire_size(type));
  BucketLayout layout;
  std::int64_t payload = 0;
  for (const std::int64_t numel : numels) {
    require(numel >= 0, "a slot has a negative number of elements");
    const bool in_first = layout.buckets.size() <= 1;
    const std::int64_t room = (in_first ? capacity.first_bytes : capacity.bytes) / size;
    if (layout.buckets.empty() ||
        (layout.buckets.back().numel > 0 && layout.buckets.back().numel + numel > room)) {
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
