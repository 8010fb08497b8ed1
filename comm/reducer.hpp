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
#include "comm/gradient_reducer.hpp"

namespace slicereduce {

/// Sends gradients as they are, rounded to the wire type, bucket by bucket. Buckets go out in the order of
/// the slots, whatever the order of add(): it is the same on all ranks.
class Reducer final : public GradientReducer {
 public:
  /// Throws Error(usage) for a configuration that can't be run. `communicator`'s start_ calls belong to the
  /// reducer as long as it lives.
  Reducer(Communicator& communicator, const ReducerConfig& config);
  ~Reducer() override;
  Reducer(const Reducer&) = delete;
  Reducer& operator=(const Reducer&) = delete;
  Reducer(Reducer&&) = delete;
  Reducer& operator=(Reducer&&) = delete;

  void begin(std::span<const SlotShape> slots, std::uint64_t digest, bool wants_stop) override;
  /// The same for vectors of so many numbers.
  void begin(std::span<const std::int64_t> slot_numels, std::uint64_t digest, bool wants_stop = false);

  /// Copies `gradient` / world_size into its slot, converted to the wire type, at once, or next on the
  /// current stream of a device.
  void add(std::size_t slot, const at::Tensor& gradient) override;
  [[nodiscard]] std::size_t wait_for(std::size_t slot) override;
  [[nodiscard]] std::optional<ReduceTimes> wait() override;

  [[nodiscard]] WireType wire() const noexcept { return config_.wire; }

  /// A view of the bucket, in the wire type, in the memory of the configuration's device.
  [[nodiscard]] Gradient mean(std::size_t slot) override;

  /// A 2-byte wire rounds.
  [[nodiscard]] bool loses() const override { return config_.wire != WireType::fp32; }
  void subtract_sent(std::size_t slot, const at::Tensor& gradient) override;

 private:
  void lay_out(std::span<const std::int64_t> slot_numels);
  void mark_packed(std::size_t bucket);
  void submit_full_buckets();
  void finish_adding();
  void require_all_added() const;
  [[nodiscard]] std::span<std::byte> bytes_of(std::int64_t offset, std::int64_t numel) const;

  Communicator& communicator_;
  const ReducerConfig config_;
  const float scale_;
  std::vector<std::int64_t> numels_;
  BucketLayout layout_;
  at::Tensor storage_;  ///< all buckets, [storage_numel or more] in the wire type; kept from step to step

  // Of this round, and of the thread that waits
  std::size_t back_ = 0;  ///< buckets that are known to be back, from the first
  std::chrono::steady_clock::duration waited_{0};

  std::mutex mutex_;                  ///< guards what is below, but not the storage: slots don't overlap
  std::vector<bool> added_;           ///< by slot
  std::vector<std::size_t> missing_;  ///< by bucket: slots not yet added
  std::size_t next_bucket_ = 0;       ///< the first that was not submitted
  bool in_round_ = false;
  bool wants_stop_ = false;

  std::unique_ptr<AllreduceThread> thread_;  ///< none for a single rank. After storage_: it writes there.
};

}  // namespace slicereduce
