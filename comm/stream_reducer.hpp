#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comm/bucket_layout.hpp"
#include "comm/communicator.hpp"
#include "comm/gradient_reducer.hpp"
#include "core/stream_marks.hpp"

namespace slicereduce {

/// Averages gradients over all ranks as Reducer does, in the same buckets and to the same bits, but in the
/// order of a device's streams: the host waits for nothing, so that all of it can be captured in a graph and
/// run again. Slots are the same in every run. What ranks would have to agree on before is left to the
/// caller.
///
///   reducer.begin();                       in the order in which gradients become ready
///   reducer.add(slot, gradient);           once a slot, from backward
///   for each bucket: reducer.wait_for(bucket);   what the current stream is given next sees its means
///
/// In host memory each AllReduce is waited for where it is started.
class StreamReducer {
 public:
  /// Throws Error(usage) for a configuration that can't be run. `communicator`'s start_ calls are the
  /// reducer's between begin() and the last wait_for().
  StreamReducer(Communicator& communicator, const ReducerConfig& config,
                std::span<const std::int64_t> slot_numels);

  void begin();
  /// See GradientReducer::add(). From one thread at a time.
  void add(std::size_t slot, const at::Tensor& gradient);

  [[nodiscard]] std::size_t buckets() const { return layout_.buckets.size(); }
  /// All slots were added. Gives the end of the slots that have arrived with it.
  std::size_t wait_for(std::size_t bucket);
  /// A view of the bucket, in the wire type.
  [[nodiscard]] at::Tensor mean(std::size_t slot) const;
  [[nodiscard]] std::int64_t wire_bytes() const { return layout_.wire_bytes; }

  /// Of a run that the device has ended.
  [[nodiscard]] ReduceTimes times() const;
  /// The first bucket that the device waits for, or will; nothing where all have arrived.
  [[nodiscard]] std::optional<std::size_t> late_bucket() const;

 private:
  // Marks of a bucket
  enum class Mark : std::uint8_t { sent, arrived, wanted, had };
  static constexpr std::size_t kMarksOfABucket = 4;
  [[nodiscard]] static std::size_t mark_of(std::size_t bucket, Mark mark) {
    return bucket * kMarksOfABucket + static_cast<std::size_t>(mark);
  }
  [[nodiscard]] std::size_t begun() const { return buckets() * kMarksOfABucket; }
  void send_full_buckets();
  void send(std::size_t bucket);

  Communicator& communicator_;
  const ReducerConfig config_;
  const float scale_;
  BucketLayout layout_;
  at::Tensor storage_;  ///< all buckets, in the wire type
  std::unique_ptr<StreamMarks> marks_;

  // Of the run
  std::vector<bool> added_;                                  ///< by slot
  std::vector<std::size_t> missing_;                         ///< by bucket: slots not yet added
  std::size_t next_bucket_ = 0;                              ///< the first that was not sent
  std::vector<std::shared_ptr<const c10::Event>> arrivals_;  ///< by bucket
};

}  // namespace slicereduce
