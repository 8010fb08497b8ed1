#include "comm/reducer.hpp"

#include <algorithm>

#include "comm/pack.hpp"
#include "core/device.hpp"
#include "core/error.hpp"
#include "core/profile_range.hpp"
#include "core/text.hpp"

namespace slicereduce {
namespace {

using Clock = std::chrono::steady_clock;

const ReducerConfig& validated(const ReducerConfig& config) {
  config.validate();
  return config;
}

}  // namespace

Reducer::Reducer(Communicator& communicator, const ReducerConfig& config)
    : communicator_(communicator),
      config_(validated(config)),
      scale_(1.0F / static_cast<float>(communicator.world_size())) {
  if (communicator.world_size() > 1) {
    require(communicator.device() == config_.device, "buckets lie where their communicator does not reduce");
    thread_ = std::make_unique<AllreduceThread>(communicator, config_.timeout);
  }
}

Reducer::~Reducer() = default;

void Reducer::begin(std::span<const SlotShape> slots, std::uint64_t digest, bool wants_stop) {
  std::vector<std::int64_t> numels;
  for (const SlotShape& slot : slots) {
    numels.push_back(slot.numel());
  }
  begin(numels, digest, wants_stop);
}

void Reducer::begin(std::span<const std::int64_t> slot_numels, std::uint64_t digest, bool wants_stop) {
  const std::lock_guard lock(mutex_);
  require(!in_round_, "a round of reductions begins before the last one's wait()");
  if (!storage_.defined() || !std::ranges::equal(slot_numels, numels_)) {
    lay_out(slot_numels);
  }
  added_.assign(layout_.slots.size(), false);
  missing_.clear();
  for (const Bucket& bucket : layout_.buckets) {
    missing_.push_back(bucket.slots);
  }
  next_bucket_ = 0;
  back_ = 0;
  waited_ = {};
  in_round_ = true;
  wants_stop_ = wants_stop;
  if (thread_) {
    thread_->submit_agreement(digest, wants_stop);
  }
}

void Reducer::lay_out(std::span<const std::int64_t> slot_numels) {
  layout_ = lay_out_buckets(slot_numels, config_.wire, config_.capacity());
  numels_.assign(slot_numels.begin(), slot_numels.end());
  if (!storage_.defined() || storage_.numel() < layout_.storage_numel) {
    storage_ = at::Tensor();  // its memory first
    storage_ = make_storage(communicator_, config_, layout_.storage_numel);
  }
}

void Reducer::add(std::size_t slot, const at::Tensor& gradient) {
  require(slot < layout_.slots.size(), "a gradient is added to a slot beyond begin()'s");
  const SlotPlace& place = layout_.slots[slot];
  check_gradient(slot, gradient, place.numel);
  {
    const std::lock_guard lock(mutex_);
    require(in_round_, "a gradient is added outside of begin() and wait()");
    if (added_[slot]) {
      throw Error(ErrorKind::invariant, concat("gradient of slot ", slot, " is added twice in a step"));
    }
    added_[slot] = true;
  }
  {
    const ProfileRange range("pack");
    pack(gradient, scale_, storage_.narrow(0, place.offset, place.numel), config_.wire);
  }
  mark_packed(place.bucket);
}

void Reducer::mark_packed(std::size_t bucket) {
  const std::lock_guard lock(mutex_);
  --missing_[bucket];
  if (config_.overlap) {
    submit_full_buckets();
  }
}

/// Up to the first that is not full: every rank must submit them in the same order.
void Reducer::submit_full_buckets() {
  for (; next_bucket_ < missing_.size() && missing_[next_bucket_] == 0; ++next_bucket_) {
    const Bucket& bucket = layout_.buckets[next_bucket_];
    if (thread_) {
      thread_->submit({.bytes = bytes_of(bucket.offset, bucket.numel),
                       .type = config_.wire,
                       .ready = mark(config_.device)});
    }
  }
}

void Reducer::finish_adding() {
  const std::lock_guard lock(mutex_);
  require(in_round_, "a wait without begin()");
  require_all_added();
  submit_full_buckets();
}

std::size_t Reducer::wait_for(std::size_t slot) {
  const ProfileRange range("wait for a bucket");
  const auto start = Clock::now();
  finish_adding();
  const std::size_t bucket = layout_.slots.at(slot).bucket;
  // The first ones, since a later one may well be back before them.
  const auto next_is_back = [&] {
    return !thread_ || (back_ <= bucket ? thread_->wait_for(back_) : thread_->finished(back_));
  };
  while (back_ < layout_.buckets.size() && next_is_back()) {
    ++back_;
  }
  waited_ += Clock::now() - start;
  if (back_ <= bucket) {
    return 0;
  }
  const auto end = std::ranges::partition_point(
      layout_.slots, [this](const SlotPlace& place) { return place.bucket < back_; });
  return static_cast<std::size_t>(end - layout_.slots.begin());
}

std::optional<ReduceTimes> Reducer::wait() {
  finish_adding();
  {
    const std::lock_guard lock(mutex_);
    in_round_ = false;
  }
  return end_round(thread_.get(), {.stop_requested = wants_stop_, .wire_bytes = layout_.wire_bytes}, waited_);
}

void Reducer::require_all_added() const {
  const auto first = std::ranges::find(added_, false);
  if (first != added_.end()) {
    throw Error(ErrorKind::invariant, concat("gradient of slot ", first - added_.begin(), " of ",
                                             added_.size(), " was not added before wait()"));
  }
}

Gradient Reducer::mean(std::size_t slot) {
  const SlotPlace& place = layout_.slots.at(slot);
  return storage_.narrow(0, place.offset, place.numel);
}

void Reducer::subtract_sent(std::size_t slot, const at::Tensor& gradient) {
  check_gradient(slot, gradient, layout_.slots.at(slot).numel);
  // The bucket holds the mean by now: what this rank put there is rounded once more.
  subtract_packed(gradient, scale_, config_.wire);
}

std::span<std::byte> Reducer::bytes_of(std::int64_t offset, std::int64_t numel) const {
  const std::size_t size = wire_size(config_.wire);
  return {static_cast<std::byte*>(storage_.mutable_data_ptr()) + static_cast<std::size_t>(offset) * size,
          static_cast<std::size_t>(numel) * size};
}

}  // namespace slicereduce
