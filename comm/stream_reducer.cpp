#include "comm/stream_reducer.hpp"

#include <c10/core/Event.h>

#include <algorithm>
#include <utility>

#include "comm/pack.hpp"
#include "core/device.hpp"
#include "core/error.hpp"
#include "core/streams.hpp"
#include "core/text.hpp"

namespace slicereduce {

StreamReducer::StreamReducer(Communicator& communicator, const ReducerConfig& config,
                             std::span<const std::int64_t> slot_numels)
    : communicator_(communicator),
      config_(config),
      scale_(1.0F / static_cast<float>(communicator.world_size())) {
  config_.validate();
  require(communicator_.world_size() == 1 || communicator_.device() == config_.device,
          "buckets lie where their communicator does not reduce");
  layout_ = lay_out_buckets(slot_numels, config_.wire, config_.capacity());
  storage_ = make_storage(communicator_, config_, layout_.storage_numel);
  marks_ = make_stream_marks(config_.device, begun() + 1);
}

void StreamReducer::begin() {
  added_.assign(layout_.slots.size(), false);
  missing_.clear();
  for (const Bucket& bucket : layout_.buckets) {
    missing_.push_back(bucket.slots);
  }
  next_bucket_ = 0;
  arrivals_.assign(buckets(), nullptr);
  marks_->record(begun());
}

void StreamReducer::add(std::size_t slot, const at::Tensor& gradient) {
  require(slot < added_.size() && !added_[slot], "a gradient is added beyond begin()'s slots, or twice");
  const SlotPlace& place = layout_.slots[slot];
  check_gradient(slot, gradient, place.numel);
  pack(gradient, scale_, storage_.narrow(0, place.offset, place.numel), config_.wire);
  added_[slot] = true;
  --missing_[place.bucket];
  if (config_.overlap) {
    send_full_buckets();
  }
}

/// Up to the first that is not full: every rank must send them in the same order.
void StreamReducer::send_full_buckets() {
  for (; next_bucket_ < buckets() && missing_[next_bucket_] == 0; ++next_bucket_) {
    send(next_bucket_);
  }
}

void StreamReducer::send(std::size_t bucket) {
  if (communicator_.world_size() == 1) {
    return;
  }
  const Bucket& place = layout_.buckets[bucket];
  const at::Tensor numbers = storage_.narrow(0, place.offset, place.numel);
  const std::span<std::byte> bytes(static_cast<std::byte*>(numbers.mutable_data_ptr()), numbers.nbytes());
  const auto on_its_stream = [&](Mark mark) {
    return [this, bucket, mark](c10::Stream stream) { marks_->record(mark_of(bucket, mark), stream); };
  };
  arrivals_[bucket] = communicator_.enqueue_allreduce(
      {.bytes = bytes, .type = config_.wire, .ready = mark(config_.device)},
      {.before = on_its_stream(Mark::sent), .after = on_its_stream(Mark::arrived)});
}

std::size_t StreamReducer::wait_for(std::size_t bucket) {
  const auto first = std::ranges::find(added_, false);
  if (first != added_.end()) {
    throw Error(ErrorKind::invariant, concat("gradient of slot ", first - added_.begin(), " of ",
                                             added_.size(), " was not added before it is waited for"));
  }
  marks_->record(mark_of(bucket, Mark::wanted));
  send_full_buckets();
  if (arrivals_.at(bucket)) {
    arrivals_[bucket]->block(current_stream(config_.device));
  }
  marks_->record(mark_of(bucket, Mark::had));
  const auto end = std::ranges::partition_point(
      layout_.slots, [bucket](const SlotPlace& place) { return place.bucket <= bucket; });
  return static_cast<std::size_t>(end - layout_.slots.begin());
}

at::Tensor StreamReducer::mean(std::size_t slot) const {
  const SlotPlace& place = layout_.slots.at(slot);
  return storage_.narrow(0, place.offset, place.numel);
}

std::optional<std::size_t> StreamReducer::late_bucket() const {
  for (std::size_t bucket = 0; bucket < buckets() && communicator_.world_size() > 1; ++bucket) {
    const std::size_t arrival = mark_of(bucket, Mark::arrived);
    // In a graph that runs again, the last run's is passed.
    if (!marks_->passed(begun()) || !marks_->passed(arrival) || marks_->ms_between(begun(), arrival) < 0) {
      return bucket;
    }
  }
  return std::nullopt;
}

ReduceTimes StreamReducer::times() const {
  ReduceTimes times{.wire_bytes = layout_.wire_bytes};
  for (std::size_t bucket = 0; bucket < buckets(); ++bucket) {
    times.exposed_ms += marks_->ms_between(mark_of(bucket, Mark::wanted), mark_of(bucket, Mark::had));
    if (communicator_.world_size() > 1) {
      // One after the other on one stream: their times add up.
      times.comm_ms += marks_->ms_between(mark_of(bucket, Mark::sent), mark_of(bucket, Mark::arrived));
    }
  }
  return times;
}

}  // namespace slicereduce
