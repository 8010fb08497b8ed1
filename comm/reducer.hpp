#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "comm/allreduce_thread.hpp"
#include "comm/bucket_layout.hpp"
#include "comm/communicator.hpp"

namespace slicereduce {

struct ReducerConfig {
  WireType wire = WireType::fp32;
  std::int64_t bucket_bytes = 25LL << 20;
  std::int64_t first_bucket_bytes = 1LL << 20;
  /// Start a bucket's AllReduce when it is full; off: all of them in wait().
  bool overlap = true;
  std::chrono::milliseconds timeout{300'000};

  /// Throws Error(usage).
  void validate() const;
};

/// What a step's reduction took on this rank.
struct ReduceTimes {
  bool stop_requested = false;  ///< by any rank in begin(); the same on all ranks
  double comm_ms = 0;           ///< in which an AllReduce was under way; 0 for a single rank
  double exposed_ms = 0;        ///< for which wait() held up the step
  /// The payload handed to AllReduce; a single rank counts what it would hand over.
  std::int64_t wire_bytes = 0;
};

/// Averages a step's gradients over all ranks, bucket by bucket, while backward is still at work.
///
///   reducer.begin(numels, digest);       slots in the order in which gradients become ready
///   reducer.add(slot, gradient);         once a slot, from backward
///   const auto times = reducer.wait();
///   reducer.view(slot);                  the mean over ranks
///
/// Buckets go out in the order of the slots, whatever the order of add(): it is the same on all ranks.
/// With one rank there is no thread and no AllReduce, but numbers are rounded to the wire type all the
/// same, so that a run on one rank shows what the wire does to it.
class Reducer {
 public:
  /// Throws Error(usage) for a configuration that can't be run. `communicator`'s start_ calls belong to the
  /// reducer as long as it lives.
  Reducer(Communicator& communicator, const ReducerConfig& config);
  ~Reducer();
  Reducer(const Reducer&) = delete;
  Reducer& operator=(const Reducer&) = delete;
  Reducer(Reducer&&) = delete;
  Reducer& operator=(Reducer&&) = delete;

  /// Collective. Starts a round of slots with `slot_numels` numbers each, the same on all ranks; `digest`
  /// stands for what they mean, and is compared over all ranks before anything is reduced. `wants_stop`
  /// reaches all ranks with it. Overwrites the last round's results.
  void begin(std::span<const std::int64_t> slot_numels, std::uint64_t digest, bool wants_stop = false);

  /// Copies `gradient` / world_size into its slot, converted to the wire type, in the order of its
  /// memory: float or bfloat16, of the slot's size, without gaps or overlaps, in host memory or a device's
  /// (buckets are the host's). From any thread, also from several at once. Throws Error(invariant).
  void add(std::size_t slot, const at::Tensor& gradient);

  /// Collective. Blocks until all slots are reduced. Nothing where ranks disagree on the digest: then no
  /// gradient was reduced, on all ranks alike, and the next round may begin. Throws Error(invariant) naming
  /// the first slot that was not added, and what a collective threw.
  [[nodiscard]] std::optional<ReduceTimes> wait();

  [[nodiscard]] WireType wire() const noexcept { return config_.wire; }

  /// After wait(), until the next begin(): the mean over ranks, in the wire type.
  [[nodiscard]] std::span<const std::byte> reduced(std::size_t slot) const;
  /// The same as a tensor of shape [numel], float, bfloat16 or half; a view of the bucket.
  [[nodiscard]] at::Tensor view(std::size_t slot) const;

 private:
  void lay_out(std::span<const std::int64_t> slot_numels);
  void mark_packed(std::size_t bucket);
  void submit_full_buckets();
  void require_all_added() const;
  [[nodiscard]] std::span<std::byte> bytes_of(std::int64_t offset, std::int64_t numel) const;

  const ReducerConfig config_;
  const float scale_;
  std::vector<std::int64_t> numels_;
  BucketLayout layout_;
  at::Tensor storage_;  ///< all buckets, [storage_numel or more] in the wire type; kept from step to step

  std::mutex mutex_;                  ///< guards what is below, but not the storage: slots don't overlap
  std::vector<bool> added_;           ///< by slot
  std::vector<std::size_t> missing_;  ///< by bucket: slots not yet added
  std::size_t next_bucket_ = 0;       ///< the first that was not submitted
  bool in_round_ = false;
  bool wants_stop_ = false;

  std::unique_ptr<AllreduceThread> thread_;  ///< none for a single rank. After storage_: it writes there.
};

}  // namespace slicereduce
