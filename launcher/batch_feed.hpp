#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <optional>

#include "imagenet/epoch_order.hpp"
#include "imagenet/loader.hpp"
#include "launcher/schedule.hpp"

namespace slicereduce {

/// A rank's training batches, step after step, from a loader that goes epoch by epoch. A batch can be brought
/// to the device while that is at work on the one before.
class BatchFeed {
 public:
  /// All of them must outlive it.
  BatchFeed(Loader& loader, EpochOrder& order, const Schedule& schedule, int rank, c10::Device device);

  /// Of `step`, from 0: in host memory, or, if it was prefetched, where the device is to read it next. What
  /// it holds stays until the next call. Blocks until it is there.
  [[nodiscard]] Batch next(std::int64_t step);
  /// For how long loading it held the step up.
  [[nodiscard]] double waited_ms() const { return waited_ms_; }

  /// To be called while the device is at work on `step`: prefetches the batch of the one after it, unless an
  /// epoch ends between them.
  void prefetch_after(std::int64_t step);
  /// That the device was at work so long meanwhile: no waiting of that time held anything up.
  void was_busy(double ms);

  /// The loader is another's from here on, until next().
  void lend_loader() { epoch_ = -1; }

 private:
  struct Prefetched {
    std::int64_t step = 0;
    Batch here;
    Batch there;
    double waited_ms = 0;
  };

  [[nodiscard]] Batch load(std::int64_t step);
  [[nodiscard]] Batch upload(const Batch& batch) const;

  Loader& loader_;
  EpochOrder& order_;
  const Schedule& schedule_;
  const int rank_;
  const c10::Device device_;
  const std::optional<c10::Stream> stream_;  ///< on which batches travel
  std::int64_t epoch_ = -1;                  ///< that the loader is in; -1: none
  std::optional<Prefetched> prefetched_;
  Batch in_use_;  ///< in host memory, until the device has read it
  double waited_ms_ = 0;
};

}  // namespace slicereduce
