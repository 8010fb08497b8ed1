#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace slicereduce {

/// Which images every rank sees at every step of an epoch: a permutation of the set, new each epoch, cut
/// into global batches, each cut into a contiguous part for each rank. Every image comes exactly once.
///
/// All global batches have the same number of images, except that the last two share what is left
/// evenly where the set does not divide: nothing is dropped or repeated, and no step is tiny. A remainder of
/// one or two images would give batch norm a variance of nothing and that step's gradient the noise of one
/// image at the full learning rate.
///
/// Splitting the same global batch over another number of ranks leaves the images of each step the same.
class EpochOrder {
 public:
  /// `global_batch_size` is a step's over all ranks. Throws Error(usage) where the set is smaller, or where a
  /// step would leave a rank without an image.
  EpochOrder(std::int64_t dataset_size, std::int64_t global_batch_size, int world_size, std::uint64_t seed);

  [[nodiscard]] std::int64_t steps_per_epoch() const { return steps_; }
  /// Images of a step over all ranks.
  [[nodiscard]] std::int64_t global_count(std::int64_t step) const;
  /// Images of a step on one rank: ranks differ by at most one.
  [[nodiscard]] std::int64_t count(std::int64_t step, int rank) const;
  /// Dataset indices of a step on one rank, `count(step, rank)` of them. Not for several threads at once: the
  /// epoch's permutation is kept for the next call.
  [[nodiscard]] std::vector<std::int64_t> indices(std::int64_t epoch, std::int64_t step, int rank);

  /// A run of the epoch's permutation: one rank's part of a step.
  struct Part {
    std::int64_t first = 0;
    std::int64_t count = 0;
  };
  [[nodiscard]] Part part(std::int64_t step, int rank) const;
  /// The set in the epoch's order: shared, not copied, and the same for all ranks. Not for several threads at
  /// once.
  [[nodiscard]] std::shared_ptr<const std::vector<std::int64_t>> permutation(std::int64_t epoch);

 private:
  [[nodiscard]] std::int64_t first_of(std::int64_t step) const;

  std::int64_t dataset_size_;
  std::int64_t global_batch_size_;
  std::int64_t world_size_;
  std::uint64_t seed_;
  std::int64_t steps_;
  std::int64_t shuffled_epoch_ = -1;
  std::shared_ptr<const std::vector<std::int64_t>> permutation_;  // of shuffled_epoch_
};

/// The part of a validation set that one rank evaluates: every image is in exactly one rank's part, parts
/// differ in size by at most one.
[[nodiscard]] std::vector<std::int64_t> validation_indices(std::int64_t size, int rank, int world_size);

}  // namespace slicereduce
