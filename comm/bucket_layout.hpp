#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/wire.hpp"

namespace slicereduce {

/// How much goes into one AllReduce, in bytes of the wire type.
struct BucketCapacity {
  std::int64_t bytes = 25LL << 20;
  /// Smaller than the others, so that the wire is busy soon after backward begins.
  std::int64_t first_bytes = 1LL << 20;
  /// So many of the last bytes go out on their own: when backward has ended, only they are left to wait for.
  std::int64_t last_bytes = 128LL << 10;

  /// Throws Error(usage) where one of them holds no number.
  void validate(WireType type) const;
};

/// Where one gradient's numbers lie.
struct SlotPlace {
  std::size_t bucket;
  std::int64_t offset;  ///< in numbers, from the start of the storage of all buckets
  std::int64_t numel;
};

/// Consecutive slots that are reduced at once, packed without a gap.
struct Bucket {
  std::size_t slots;
  std::int64_t offset;  ///< in numbers, from the start of the storage; a multiple of 64 bytes
  std::int64_t numel;
};

/// Where all gradients of a step lie, and what goes into each AllReduce.
struct BucketLayout {
  std::vector<SlotPlace> slots;
  std::vector<Bucket> buckets;
  std::int64_t storage_numel = 0;  ///< payload and the gaps between buckets
  std::int64_t wire_bytes = 0;     ///< payload alone: what a rank hands to AllReduce
};

/// Packs slots of `numels` numbers, in the order in which gradients become ready, into few consecutive
/// buckets, each as full as the capacity allows; a slot beyond it has a bucket of its own. A slot may be
/// empty. Throws what validate() throws, and Error(invariant) for a negative numel.
[[nodiscard]] BucketLayout lay_out_buckets(std::span<const std::int64_t> numels, WireType type,
                                           const BucketCapacity& capacity);

}  // namespace slicereduce
