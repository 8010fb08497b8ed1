#include "comm/low_rank_reducer.hpp"

#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <array>

#include "comm/bucket_layout.hpp"
#include "comm/pack.hpp"
#include "core/error.hpp"
#include "core/profile_range.hpp"
#include "core/text.hpp"

namespace slicereduce {
namespace {

using Clock = std::chrono::steady_clock;

template <typename Config>
const Config& validated(const Config& config) {
  config.validate();
  return config;
}

/// Numbers in a storage that is a row of such places.
struct Place {
  std::int64_t offset = 0;
  std::int64_t numel = 0;

  [[nodiscard]] at::Tensor in(const at::Tensor& storage) const { return storage.narrow(0, offset, numel); }
};

/// visit(number) for what is kept of `vectors` vectors that have the columns of the whole matrix, in order.
template <typename Number, typename Visit>
void for_each_kept(const SlotShape& shape, std::int64_t vectors, Number* whole, const Visit& visit) {
  const std::int64_t group = shape.whole_columns / shape.groups;
  for (std::int64_t g = 0; g < vectors * shape.groups; ++g) {
    for (const std::int32_t column : shape.kept) {
      visit(whole[g * group + column]);
    }
  }
}

void require_kept_to_fit(const SlotShape& shape) {
  const auto kept = static_cast<std::int64_t>(shape.kept.size());
  require(kept == 0 || (shape.whole_columns % shape.groups == 0 && shape.columns == shape.groups * kept &&
                        shape.kept.back() < shape.whole_columns / shape.groups),
          "a slot's columns are not those that are kept of each group");
}

Place after(const Place& last, std::int64_t numel) {
  return {.offset = last.offset + last.numel, .numel = numel};
}

}  // namespace

struct LowRankReducer::Slot {
  SlotShape shape;
  std::int64_t rank = 0;  ///< 0: sent whole
  std::size_t bucket = 0;
  Place left;   ///< of P, or of the whole gradient
  Place right;  ///< of Q
  bool added = false;

  at::Tensor matrix;  ///< M [n, m], the caller's
  at::Tensor p;       ///< [r, n], orthonormal
  at::Tensor q;       ///< [r, m]: the start, then the mean
};

struct LowRankReducer::Bucket {
  std::size_t first_slot = 0;
  std::size_t end_slot = 0;
  Place left;
  Place right;
  std::size_t missing = 0;         ///< slots not yet added
  std::size_t left_allreduce = 0;  ///< its number in the round
  std::size_t last_allreduce = 0;  ///< of the right factors, where there are any
};

struct LowRankReducer::Send {
  std::size_t bucket;
  bool is_right;
};

LowRankReducer::LowRankReducer(Communicator& communicator, const ReducerConfig& config,
                               const LowRankConfig& low_rank)
    : config_(validated(config)),
      low_rank_(validated(low_rank)),
      scale_(1.0F / static_cast<float>(communicator.world_size())) {
  require(config_.device.is_cpu() && communicator.device().is_cpu(), "factors are reduced in host memory");
  if (communicator.world_size() > 1) {
    thread_ = std::make_unique<AllreduceThread>(communicator, config_.timeout);
  }
}

LowRankReducer::~LowRankReducer() = default;

void LowRankReducer::begin(std::span<const SlotShape> slots, std::uint64_t digest, bool wants_stop) {
  const c10::NoGradGuard no_grad;
  const std::lock_guard lock(mutex_);
  require(!in_round_, "a round of reductions begins before the last one's wait()");
  factors_.resize(std::max(factors_.size(), slots.size()));
  lay_out(slots);
  plan_sends();
  next_send_ = 0;
  back_ = 0;
  waited_ = {};
  in_round_ = true;
  wants_stop_ = wants_stop;
  if (thread_) {
    thread_->submit_agreement(digest, wants_stop);
  }
}

void LowRankReducer::lay_out(std::span<const SlotShape> shapes) {
  std::vector<std::int64_t> numels;
  for (const SlotShape& shape : shapes) {
    numels.push_back(shape.numel());
  }
  const BucketLayout whole = lay_out_buckets(numels, config_.wire, config_.capacity());
  slots_.clear();
  buckets_.clear();
  Place left;
  Place right;
  for (std::size_t s = 0; s < shapes.size(); ++s) {
    const SlotShape& shape = shapes[s];
    require_kept_to_fit(shape);
    const std::int64_t rank = shape.as_it_is ? 0 : low_rank_.rank_of(shape.rows, shape.columns);
    left = after(left, rank > 0 ? rank * shape.rows : shape.numel());
    right = after(right, rank * shape.columns);
    const std::size_t bucket = whole.slots[s].bucket;
    if (buckets_.size() == bucket) {
      buckets_.push_back(
          {.first_slot = s, .left = {.offset = left.offset}, .right = {.offset = right.offset}});
    }
    buckets_.back().end_slot = s + 1;
    buckets_.back().left.numel += left.numel;
    buckets_.back().right.numel += right.numel;
    ++buckets_.back().missing;
    slots_.push_back({.shape = shape, .rank = rank, .bucket = bucket, .left = left, .right = right});
    if (rank > 0) {
      slots_.back().q = start_factor(s, shape, rank);
    }
  }
  const auto fit = [&](at::Tensor& storage, const Place& last) {
    const std::int64_t numel = last.offset + last.numel;
    if (!storage.defined() || storage.numel() < numel) {
      storage = at::empty({numel}, scalar_type(config_.wire));
    }
    return numel;
  };
  const std::int64_t numel = fit(left_storage_, left) + fit(right_storage_, right);
  wire_bytes_ = numel * static_cast<std::int64_t>(wire_size(config_.wire));
}

/// A bucket's Q goes out behind the next bucket's P: when it is its turn, its own P has had time to come
/// back.
void LowRankReducer::plan_sends() {
  sends_.clear();
  std::size_t allreduces = 0;
  const auto send_right = [&](std::size_t bucket) {
    if (buckets_[bucket].right.numel > 0) {
      sends_.push_back({.bucket = bucket, .is_right = true});
      buckets_[bucket].last_allreduce = allreduces++;
    }
  };
  for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    sends_.push_back({.bucket = bucket, .is_right = false});
    buckets_[bucket].left_allreduce = allreduces++;
    buckets_[bucket].last_allreduce = buckets_[bucket].left_allreduce;
    if (bucket > 0) {
      send_right(bucket - 1);
    }
  }
  if (!buckets_.empty()) {
    send_right(buckets_.size() - 1);
  }
}

at::Tensor LowRankReducer::start_factor(std::size_t slot, const SlotShape& shape, std::int64_t rank) {
  at::Tensor& whole = factors_[slot];
  const std::int64_t whole_columns = shape.kept.empty() ? shape.columns : shape.whole_columns;
  RandomStream random(low_rank_.seed, RandomPurpose::low_rank, slot, 0);
  // Of another run, it may be of another rank: it starts anew.
  if (!whole.defined() || whole.dim() != 2 || whole.size(0) != low_rank_.rank ||
      whole.size(1) != whole_columns || whole.scalar_type() != at::kFloat) {
    whole = at::empty({low_rank_.rank, whole_columns}, at::kFloat);
    auto* values = whole.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < whole.numel(); ++i) {
      values[i] = static_cast<float>(random.uniform() - 0.5);
    }
  }
  at::Tensor start = at::empty({rank, shape.columns}, at::kFloat);
  if (shape.kept.empty()) {
    start.copy_(whole.narrow(0, 0, rank));
  } else {
    auto* to = start.mutable_data_ptr<float>();
    for_each_kept(shape, rank, whole.const_data_ptr<float>(), [&](float value) { *to++ = value; });
  }
  orthonormalize_or_draw(start, random);
  return start;
}

void LowRankReducer::keep_factor(std::size_t slot) {
  const SlotShape& shape = slots_[slot].shape;
  const std::int64_t rank = slots_[slot].rank;
  const at::Tensor& q = slots_[slot].q;
  const at::Tensor& whole = factors_[slot];
  if (shape.kept.empty()) {
    whole.narrow(0, 0, rank).copy_(q);
    return;
  }
  const auto* from = q.const_data_ptr<float>();
  for_each_kept(shape, rank, whole.mutable_data_ptr<float>(), [&](float& value) { value = *from++; });
}

void LowRankReducer::add(std::size_t slot, const at::Tensor& gradient) {
  const c10::NoGradGuard no_grad;
  require(slot < slots_.size(), "a gradient is added to a slot beyond begin()'s");
  Slot& place = slots_[slot];
  check_gradient(slot, gradient, place.shape.numel());
  {
    const std::lock_guard lock(mutex_);
    require(in_round_, "a gradient is added outside of begin() and wait()");
    if (place.added) {
      throw Error(ErrorKind::invariant, concat("gradient of slot ", slot, " is added twice in a step"));
    }
    place.added = true;
  }
  if (place.rank == 0) {
    pack(gradient, scale_, place.left.in(left_storage_), config_.wire);
  } else {
    require(gradient.scalar_type() == at::kFloat, "a matrix to be sent as factors is not float");
    const ProfileRange range("left factor");
    place.matrix = as_it_lies(gradient).view({place.shape.rows, place.shape.columns});
    pack(left_factor(place.matrix, place.q.to(gradient.device())), scale_, place.left.in(left_storage_),
         config_.wire);
  }
  {
    const std::lock_guard lock(mutex_);
    --buckets_[place.bucket].missing;
  }
  if (config_.overlap) {
    // Where another thread is at it: what it misses goes out with the next add() or wait.
    if (const std::unique_lock lock(advancing_, std::try_to_lock); lock) {
      advance();
    }
  }
}

/// Sends what is ready, in the order that all ranks have; the first that is not holds up the rest.
void LowRankReducer::advance() {
  for (; next_send_ < sends_.size() && send_is_ready(sends_[next_send_]); ++next_send_) {
    submit(sends_[next_send_]);
  }
}

bool LowRankReducer::send_is_ready(const Send& send) {
  const Bucket& bucket = buckets_[send.bucket];
  if (!send.is_right) {
    const std::lock_guard lock(mutex_);
    return bucket.missing == 0;
  }
  const bool is_back = !thread_ || thread_->finished(bucket.left_allreduce);
  if (is_back) {
    compute_right_factors(send.bucket);
  }
  return is_back;
}

void LowRankReducer::compute_right_factors(std::size_t bucket) {
  const ProfileRange range("right factors");
  for (std::size_t s = buckets_[bucket].first_slot; s < buckets_[bucket].end_slot; ++s) {
    Slot& slot = slots_[s];
    if (slot.rank == 0) {
      continue;
    }
    slot.p = slot.left.in(left_storage_).to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    slot.p = slot.p.view({slot.rank, slot.shape.rows});
    orthonormalize(slot.p);
    pack(right_factor(slot.matrix, slot.p.to(slot.matrix.device())), scale_, slot.right.in(right_storage_),
         config_.wire);
  }
}

void LowRankReducer::submit(const Send& send) {
  if (thread_) {
    const Bucket& bucket = buckets_[send.bucket];
    thread_->submit(send.is_right ? wire_buffer(right_storage_, bucket.right.offset, bucket.right.numel)
                                  : wire_buffer(left_storage_, bucket.left.offset, bucket.left.numel));
  }
}

WireBuffer LowRankReducer::wire_buffer(const at::Tensor& storage, std::int64_t offset,
                                       std::int64_t numel) const {
  const std::size_t size = wire_size(config_.wire);
  return {
      .bytes = {static_cast<std::byte*>(storage.mutable_data_ptr()) + static_cast<std::size_t>(offset) * size,
                static_cast<std::size_t>(numel) * size},
      .type = config_.wire};
}

/// Blocks until both factors of `bucket` are back. What can go out meanwhile does. False where ranks
/// disagree.
bool LowRankReducer::bring_back(std::size_t bucket) {
  while (back_ <= bucket) {
    advance();
    const std::size_t last = buckets_[back_].last_allreduce;
    if (!thread_ || thread_->finished(last)) {
      finish(buckets_[back_++]);
      continue;
    }
    // The next send waits for its left factors, if there is one.
    const std::size_t next =
        next_send_ < sends_.size() ? buckets_[sends_[next_send_].bucket].left_allreduce : last;
    const ProfileRange range("wait for a bucket");
    const auto start = Clock::now();
    const bool agreed = thread_->wait_for_any(std::array{last, next});
    waited_ += Clock::now() - start;
    if (!agreed) {
      return false;
    }
  }
  return true;
}

void LowRankReducer::finish(const Bucket& bucket) {
  for (std::size_t s = bucket.first_slot; s < bucket.end_slot; ++s) {
    if (slots_[s].rank > 0) {
      slots_[s].q.copy_(slots_[s].right.in(right_storage_).view(slots_[s].q.sizes()));
      keep_factor(s);
    }
  }
}

std::size_t LowRankReducer::wait_for(std::size_t slot) {
  const c10::NoGradGuard no_grad;
  {
    const std::lock_guard lock(mutex_);
    require(in_round_, "a wait without begin()");
    require_all_added();
  }
  const std::lock_guard lock(advancing_);
  const bool agreed = bring_back(slots_.at(slot).bucket);
  // Not those behind it: the sooner the caller asks again, the sooner their right factors go out.
  return agreed ? buckets_[back_ - 1].end_slot : 0;
}

std::optional<ReduceTimes> LowRankReducer::wait() {
  if (!slots_.empty()) {
    (void)wait_for(slots_.size() - 1);
  }
  {
    const std::lock_guard lock(mutex_);
    require(in_round_, "a wait without begin()");
    in_round_ = false;
  }
  return end_round(thread_.get(), {.stop_requested = wants_stop_, .wire_bytes = wire_bytes_}, waited_);
}

void LowRankReducer::require_all_added() const {
  const auto first = std::ranges::find(slots_, false, &Slot::added);
  if (first != slots_.end()) {
    throw Error(ErrorKind::invariant, concat("gradient of slot ", first - slots_.begin(), " of ",
                                             slots_.size(), " was not added before wait()"));
  }
}

Gradient LowRankReducer::mean(std::size_t slot) {
  const Slot& place = slots_.at(slot);
  return place.rank == 0 ? Gradient(place.left.in(left_storage_)) : Gradient(place.p, place.q);
}

void LowRankReducer::subtract_sent(std::size_t slot, const at::Tensor& gradient) {
  const c10::NoGradGuard no_grad;
  check_gradient(slot, gradient, slots_.at(slot).shape.numel());
  if (slots_.at(slot).rank == 0) {
    subtract_packed(gradient, scale_, config_.wire);
  } else {
    subtract_factored(as_it_lies(gradient), mean(slot));
  }
}

}  // namespace slicereduce
