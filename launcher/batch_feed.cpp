#include "launcher/batch_feed.hpp"

#include <ATen/core/Tensor.h>
#include <c10/core/StreamGuard.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "core/profile_range.hpp"
#include "core/streams.hpp"

namespace slicereduce {

BatchFeed::BatchFeed(Loader& loader, EpochOrder& order, const Schedule& schedule, int rank,
                     c10::Device device)
    : loader_(loader),
      order_(order),
      schedule_(schedule),
      rank_(rank),
      device_(device),
      stream_(stream_beside(device)) {}

Batch BatchFeed::next(std::int64_t step) {
  auto prefetched = std::exchange(prefetched_, std::nullopt);
  if (!prefetched || prefetched->step != step) {
    in_use_ = load(step);
    waited_ms_ = loader_.waited_ms();
    return in_use_;
  }
  if (stream_) {
    go_on_after(*stream_);
  }
  in_use_ = std::move(prefetched->here);
  waited_ms_ = prefetched->waited_ms;
  return std::move(prefetched->there);
}

Batch BatchFeed::load(std::int64_t step) {
  const ProfileRange range("wait for a batch");
  const std::int64_t epoch = schedule_.epoch(step);
  if (epoch_ != epoch) {
    loader_.start_epoch(order_, rank_, epoch, schedule_.step_in_epoch(step), schedule_.image_size(step));
    epoch_ = epoch;
  }
  auto batch = loader_.next();
  require(batch.has_value(), "an epoch has fewer batches than it said");
  return *std::move(batch);
}

void BatchFeed::prefetch_after(std::int64_t step) {
  const std::int64_t next = step + 1;
  if (next < schedule_.total_steps() && schedule_.epoch(next) == epoch_) {
    Batch here = load(next);
    const Batch there = upload(here);
    prefetched_ =
        Prefetched{.step = next, .here = std::move(here), .there = there, .waited_ms = loader_.waited_ms()};
  }
}

void BatchFeed::was_busy(double ms) {
  if (prefetched_) {
    prefetched_->waited_ms = std::max(0.0, prefetched_->waited_ms - ms);
  }
}

Batch BatchFeed::upload(const Batch& batch) const {
  const c10::OptionalStreamGuard guard(stream_);
  Batch there = batch;
  there.images = batch.images.to(device_, /*non_blocking=*/true);
  there.labels = batch.labels.to(device_, /*non_blocking=*/true);
  return there;
}

}  // namespace slicereduce
