#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "comm/bucket_layout.hpp"
#include "comm/wire.hpp"
#include "core/gradient.hpp"

namespace slicereduce {

/// How gradients travel.
struct ReducerConfig {
  WireType wire = WireType::fp32;
  std::int64_t bucket_bytes = 25LL << 20;
  std::int64_t first_bucket_bytes = 1LL << 20;
  std::int64_t last_bucket_bytes = 128LL << 10;
  /// Start a bucket's AllReduce when it is full; off: all of them in the first wait.
  bool overlap = true;
  std::chrono::milliseconds timeout{300'000};
  /// Where buckets lie: where the communicator reduces, or, for a single rank, anywhere.
  at::Device device = at::kCPU;

  /// Throws Error(usage).
  void validate() const;
  [[nodiscard]] BucketCapacity capacity() const {
    return {.bytes = bucket_bytes, .first_bytes = first_bucket_bytes, .last_bytes = last_bucket_bytes};
  }
};

/// Of --timeout. Throws Error(usage) unless it is between a millisecond and 10 million seconds.
[[nodiscard]] std::chrono::milliseconds parse_timeout(double seconds);

/// What a step's reduction took on this rank.
struct ReduceTimes {
  bool stop_requested = false;  ///< by any rank in begin(); the same on all ranks
  double comm_ms = 0;           ///< in which an AllReduce was under way; 0 for a single rank
  double exposed_ms = 0;        ///< for which wait_for() and wait() were blocked
  /// The payload handed to AllReduce; a single rank counts what it would hand over.
  std::int64_t wire_bytes = 0;
};

class AllreduceThread;
class Communicator;

/// For the numbers of all buckets, in the wire type: the communicator's own memory, where there is somebody
/// to send to. Ranks must call it in the same order.
[[nodiscard]] at::Tensor make_storage(Communicator& communicator, const ReducerConfig& config,
                                      std::int64_t numel);

/// Collective. Waits for the round of `thread`, and says what it took, `waited` until now; nothing where
/// ranks disagreed. Without a thread, for a single rank: `alone`.
[[nodiscard]] std::optional<ReduceTimes> end_round(AllreduceThread* thread, ReduceTimes alone,
                                                   std::chrono::steady_clock::duration waited);

/// The matrix that a slot's gradient is as it lies in memory, row by row; a vector is one row.
struct SlotShape {
  std::int64_t rows = 1;
  std::int64_t columns = 0;
  /// Where the columns are those of a larger matrix, from which another choice may be cut at the next step:
  /// its columns, which are `groups` equal groups side by side, and which of each group's are here,
  /// ascending. Empty: this is all of it.
  std::int64_t whole_columns = 0;
  std::span<const std::int32_t> kept;
  std::int64_t groups = 1;
  bool as_it_is = false;  ///< no approximation of it is to be sent, whatever the reducer

  [[nodiscard]] std::int64_t numel() const { return rows * columns; }
};

/// Averages a step's gradients over all ranks while backward is still at work.
///
///   reducer.begin(slots, digest);        in the order in which gradients become ready
///   reducer.add(slot, gradient);         once a slot, from backward
///   reducer.wait_for(slot);              slots come back in their order
///   reducer.mean(slot);                  over ranks: the same bits on all of them
///   const auto times = reducer.wait();   for all that is left, and the end of the round
///
/// With one rank there is no thread and no AllReduce, but what the wire would do to the numbers happens all
/// the same, so that a run on one rank shows it.
class GradientReducer {
 public:
  virtual ~GradientReducer() = default;

  /// Collective. Starts a round of slots, the same on all ranks; `digest` stands for what they mean, and is
  /// compared over all ranks before anything is reduced. `wants_stop` reaches all ranks with it. Overwrites
  /// the last round's results. What `slots` refers to must stay until wait() has returned.
  virtual void begin(std::span<const SlotShape> slots, std::uint64_t digest, bool wants_stop) = 0;

  /// `gradient` is a float or bfloat16 tensor of the slot's size, without gaps or overlaps, taken in the
  /// order of its memory. It must not change until its slot was waited for. From any thread, also from
  /// several at once. Throws Error(invariant).
  virtual void add(std::size_t slot, const at::Tensor& gradient) = 0;

  /// Collective, once all slots were added. Blocks until `slot` and all before it are reduced, and gives how
  /// many slots are by then, from the first. 0 where ranks disagree on the digest. Throws as wait() does.
  [[nodiscard]] virtual std::size_t wait_for(std::size_t slot) = 0;

  /// Collective. Blocks until all slots are reduced. Nothing where ranks disagree on the digest: then no
  /// gradient was reduced, on all ranks alike, and the next round may begin. Throws Error(invariant) naming
  /// the first slot that was not added, and what a collective threw.
  [[nodiscard]] virtual std::optional<ReduceTimes> wait() = 0;

  /// Of a slot that was waited for, until the next begin(): the mean over ranks, as numbers in float,
  /// bfloat16 or half, or as factors.
  [[nodiscard]] virtual Gradient mean(std::size_t slot) = 0;

  /// Whether a mean is less than the mean of what was added, beyond the rounding of fp32.
  [[nodiscard]] virtual bool loses() const = 0;
  /// Of a slot that was waited for: leaves in `gradient`, which is what add() got (float), what did not get
  /// into the mean: on average over ranks, mean() and this are all of it.
  virtual void subtract_sent(std::size_t slot, const at::Tensor& gradient) = 0;

  /// What it carries from step to step, the same on all ranks; by slot, undefined where nothing.
  [[nodiscard]] virtual std::vector<at::Tensor> remembered() const { return {}; }
  /// Goes on with what another run remembered.
  virtual void remember(const std::vector<at::Tensor>& /*by_slot*/) {}
};

}  // namespace slicereduce
