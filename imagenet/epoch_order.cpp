#include "imagenet/epoch_order.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.hpp"
#include "core/random.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr const char* kWhatItIs = "--global-batch-size, or --batch-size x --accumulate x workers";

void check_batch(std::int64_t global_batch_size, std::int64_t dataset_size) {
  if (global_batch_size < 1 || global_batch_size > dataset_size) {
    throw Error(ErrorKind::usage, concat("a global batch of ", global_batch_size,
                                         " images: expected at least 1 and at most the ", dataset_size,
                                         " of the training set (", kWhatItIs, ")"));
  }
}

}  // namespace

EpochOrder::EpochOrder(std::int64_t dataset_size, std::int64_t global_batch_size, int world_size,
                       std::uint64_t seed)
    : dataset_size_(dataset_size),
      global_batch_size_(global_batch_size),
      world_size_(world_size),
      seed_(seed) {
  require(world_size > 0, "EpochOrder: world_size must be positive");
  check_batch(global_batch_size, dataset_size);
  steps_ = (dataset_size + global_batch_size_ - 1) / global_batch_size_;
  const std::int64_t smallest = global_count(steps_ - 1);
  if (smallest < world_size) {
    throw Error(ErrorKind::usage,
                concat("a global batch of ", global_batch_size, " images: the last of ", dataset_size,
                       " images come in a step of ", smallest, ", which leaves some of ", world_size,
                       " workers without one. Use a larger one (", kWhatItIs, ")"));
  }
}

std::int64_t EpochOrder::first_of(std::int64_t step) const {
  require(step >= 0 && step <= steps_, "EpochOrder: step out of range");
  if (step == steps_) {
    return dataset_size_;
  }
  if (step < steps_ - 1 || steps_ == 1) {
    return step * global_batch_size_;
  }
  const std::int64_t first_of_last_two = (steps_ - 2) * global_batch_size_;
  return first_of_last_two + (dataset_size_ - first_of_last_two + 1) / 2;
}

std::int64_t EpochOrder::global_count(std::int64_t step) const { return first_of(step + 1) - first_of(step); }

std::int64_t EpochOrder::count(std::int64_t step, int rank) const {
  require(rank >= 0 && rank < world_size_, "EpochOrder: rank out of range");
  const std::int64_t total = global_count(step);
  return total / world_size_ + (rank < total % world_size_ ? 1 : 0);
}

EpochOrder::Part EpochOrder::part(std::int64_t step, int rank) const {
  // The first total % world_size ranks have one image more.
  const std::int64_t total = global_count(step);
  const std::int64_t before = total / world_size_ * rank + std::min<std::int64_t>(rank, total % world_size_);
  return {first_of(step) + before, count(step, rank)};
}

std::vector<std::int64_t> EpochOrder::indices(std::int64_t epoch, std::int64_t step, int rank) {
  const Part mine = part(step, rank);
  const auto first = permutation(epoch)->begin() + mine.first;
  return {first, first + mine.count};
}

std::shared_ptr<const std::vector<std::int64_t>> EpochOrder::permutation(std::int64_t epoch) {
  require(epoch >= 0, "EpochOrder: epoch must not be negative");
  if (epoch != shuffled_epoch_) {
    auto order = std::make_shared<std::vector<std::int64_t>>(static_cast<std::size_t>(dataset_size_));
    std::iota(order->begin(), order->end(), std::int64_t{0});
    RandomStream random(seed_, RandomPurpose::order, static_cast<std::uint64_t>(epoch), 0);
    // Fisher-Yates by hand: std::shuffle's result is the library's choice, and ranks may run different ones.
    for (std::size_t left = order->size(); left > 1; --left) {
      std::swap((*order)[left - 1], (*order)[random.below(left)]);
    }
    permutation_ = std::move(order);
    shuffled_epoch_ = epoch;
  }
  return permutation_;
}

std::vector<std::int64_t> validation_indices(std::int64_t size, int rank, int world_size) {
  require(rank >= 0 && rank < world_size, "validation_indices: rank out of range");
  std::vector<std::int64_t> indices;
  for (std::int64_t index = rank; index < size; index += world_size) {
    indices.push_back(index);
  }
  return indices;
}

}  // namespace slicereduce
