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
#include "comm/communicator.hpp"
#include "comm/gradient_reducer.hpp"
#include "comm/low_rank.hpp"

namespace slicereduce {

/// Sends each gradient matrix M as two thin factors (PowerSGD, see low_rank.hpp):
///
///   P = M Q        from the last step's Q, averaged over ranks, then made orthonormal
///   Q = M^T P      averaged over ranks
///   mean = P Q^T   the same on all ranks; what it lacks of M is for the caller to remember
///
/// P and Q of all matrices of a bucket travel in one AllReduce each, and vectors, whole, beside P. Q needs
/// P's result, so a bucket takes two AllReduces, but neither holds up backward: P starts when the bucket is
/// full, Q in a later add() or wait once P is there. Their order is the same on all ranks: P0 P1 Q0 P2 Q1 and
/// so on. A bucket is as large as it would be without factors.
class LowRankReducer final : public GradientReducer {
 public:
  /// Throws Error(usage). `communicator`'s start_ calls belong to the reducer as long as it lives.
  LowRankReducer(Communicator& communicator, const ReducerConfig& config, const LowRankConfig& low_rank);
  ~LowRankReducer() override;
  LowRankReducer(const LowRankReducer&) = delete;
  LowRankReducer& operator=(const LowRankReducer&) = delete;
  LowRankReducer(LowRankReducer&&) = delete;
  LowRankReducer& operator=(LowRankReducer&&) = delete;

  void begin(std::span<const SlotShape> slots, std::uint64_t digest, bool wants_stop) override;
  /// `gradient` is float here.
  void add(std::size_t slot, const at::Tensor& gradient) override;
  [[nodiscard]] std::size_t wait_for(std::size_t slot) override;
  [[nodiscard]] std::optional<ReduceTimes> wait() override;
  [[nodiscard]] Gradient mean(std::size_t slot) override;
  [[nodiscard]] bool loses() const override { return true; }
  void subtract_sent(std::size_t slot, const at::Tensor& gradient) override;

  /// The Q that the next step starts from, [rank, whole columns]; undefined for a slot that was never sent as
  /// factors.
  [[nodiscard]] std::vector<at::Tensor> remembered() const override { return factors_; }
  /// A factor that does not fit, as after a change of rank, is not used.
  void remember(const std::vector<at::Tensor>& by_slot) override { factors_ = by_slot; }

 private:
  struct Slot;
  struct Bucket;
  struct Send;

  void lay_out(std::span<const SlotShape> shapes);
  void plan_sends();
  [[nodiscard]] at::Tensor start_factor(std::size_t slot, const SlotShape& shape, std::int64_t rank);
  void keep_factor(std::size_t slot);
  void advance();
  [[nodiscard]] bool send_is_ready(const Send& send);
  void compute_right_factors(std::size_t bucket);
  void submit(const Send& send);
  [[nodiscard]] bool bring_back(std::size_t bucket);
  void finish(const Bucket& bucket);
  void require_all_added() const;
  [[nodiscard]] WireBuffer wire_buffer(const at::Tensor& storage, std::int64_t offset,
                                       std::int64_t numel) const;

  const ReducerConfig config_;
  const LowRankConfig low_rank_;
  const float scale_;
  std::vector<at::Tensor> factors_;

  std::vector<Slot> slots_;
  std::vector<Bucket> buckets_;
  std::vector<Send> sends_;  ///< of the round, in order
  at::Tensor left_storage_;  ///< what travels first: all P, and what is sent whole
  at::Tensor right_storage_;
  std::int64_t wire_bytes_ = 0;
  bool wants_stop_ = false;

  std::mutex mutex_;  ///< guards what is in the round: this, and what of slots and buckets add() changes
  bool in_round_ = false;
  std::mutex advancing_;  ///< held by the thread that submits; guards what is below
  std::size_t next_send_ = 0;
  std::size_t back_ = 0;  ///< buckets of which both factors are back
  std::chrono::steady_clock::duration waited_{0};

  std::unique_ptr<AllreduceThread> thread_;  ///< none for a single rank. Last: it writes to the storage
};

}  // namespace slicereduce
