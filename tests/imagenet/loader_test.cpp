#include "imagenet/loader.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <latch>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include "core/device.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce {
namespace {

using namespace dataset_files;

/// Pictures of noise, image i labelled i. Images in `broken_` throw.
class NoiseSource : public ImageSource {
 public:
  explicit NoiseSource(std::int64_t size, std::set<std::int64_t> broken = {})
      : size_(size), broken_(std::move(broken)) {}

  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] std::int64_t num_classes() const override { return size_; }
  [[nodiscard]] std::int64_t channels() const override { return 3; }
  [[nodiscard]] std::int64_t label(std::int64_t index) const override { return index; }
  [[nodiscard]] std::uint64_t fingerprint() const override { return 0; }
  [[nodiscard]] std::optional<Extent> fixed_extent() const override { return std::nullopt; }
  [[nodiscard]] std::string name(std::int64_t index) const override { return std::to_string(index); }
  void read(std::int64_t index, StoredImage& into) const override {
    if (broken_.contains(index)) {
      throw Error(ErrorKind::input, concat("image ", index, " is broken"));
    }
    ++loads_;
    most_openmp_threads_ = std::max(most_openmp_threads_.load(), at::get_num_threads());
    into.is_file = false;
    into.image = noise_image(20 + index % 5, 24, 3, static_cast<std::uint64_t>(index));
  }

  [[nodiscard]] int loads() const { return loads_; }
  [[nodiscard]] int most_openmp_threads() const { return most_openmp_threads_; }

 private:
  std::int64_t size_;
  std::set<std::int64_t> broken_;
  mutable std::atomic<int> loads_ = 0;
  mutable std::atomic<int> most_openmp_threads_ = 0;
};

constexpr TransformConfig kTransform{.image_size = 12};

LoaderConfig config_of(int threads, int prefetch_batches = 3) {
  return {.threads = threads, .prefetch_batches = prefetch_batches, .seed = 5};
}

Batch next_of(Loader& loader) {
  auto batch = loader.next();
  if (!batch) {
    throw std::runtime_error("the loader has no further batch");
  }
  return std::move(*batch);
}

std::vector<Batch> rest_of(Loader& loader) {
  std::vector<Batch> batches;
  while (auto batch = loader.next()) {
    batches.push_back(std::move(*batch));
  }
  return batches;
}

void expect_equal(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(at::equal(a[i].images, b[i].images)) << i;
    EXPECT_TRUE(at::equal(a[i].labels, b[i].labels)) << i;
    EXPECT_EQ(a[i].global_count, b[i].global_count) << i;
  }
}

std::vector<std::int64_t> numbers_of(const at::Tensor& numbers) {
  const auto* first = numbers.const_data_ptr<std::int64_t>();
  return {first, first + numbers.numel()};
}

std::vector<std::int64_t> labels_of(const Batch& batch) { return numbers_of(batch.labels); }

std::vector<Batch> epoch(int threads, std::int64_t number, std::int64_t first_step = 0) {
  const NoiseSource source(103);
  Loader loader(source, kTransform, config_of(threads));
  EpochOrder order(source.size(), 20, 2, 9);
  loader.start_epoch(order, 1, number, first_step);
  return rest_of(loader);
}

TEST(Loader, GivesTheBatchesOfItsRankInOrder) {
  EpochOrder order(103, 20, 2, 9);
  const auto batches = epoch(4, 2);
  ASSERT_EQ(static_cast<std::int64_t>(batches.size()), order.steps_per_epoch());
  for (std::size_t step = 0; step < batches.size(); ++step) {
    const auto at = static_cast<std::int64_t>(step);
    EXPECT_EQ(labels_of(batches[step]), order.indices(2, at, 1));
    EXPECT_EQ(batches[step].global_count, order.global_count(at));
    EXPECT_EQ(
        batches[step].images.sizes(),
        (std::vector<std::int64_t>{order.count(at, 1), kTransform.image_size, kTransform.image_size, 3}));
  }
}

TEST(Loader, GivesTheSameBatchesForAnyNumberOfThreads) {
  const auto in_the_caller = epoch(0, 2);
  expect_equal(epoch(1, 2), in_the_caller);
  expect_equal(epoch(4, 2), in_the_caller);
}

TEST(Loader, GivesTheSameBatchesOnCertainCores) {
  const NoiseSource source(103);
  LoaderConfig config = config_of(2);
  config.cores = {usable_cores().front()};
  Loader loader(source, kTransform, config);
  EpochOrder order(source.size(), 20, 2, 9);
  loader.start_epoch(order, 1, 2);
  expect_equal(rest_of(loader), epoch(2, 2));
}

TEST(Loader, ViewsDependOnTheEpochAndTheImageOnly) {
  const NoiseSource source(8);
  Loader loader(source, kTransform, config_of(2));
  const auto views = [&](std::int64_t epoch_number, std::uint64_t order_seed) {
    EpochOrder order(8, 8, 1, order_seed);
    loader.start_epoch(order, 0, epoch_number);
    const Batch batch = next_of(loader);
    return batch.images.index_select(0, batch.labels.argsort());
  };
  EXPECT_TRUE(at::equal(views(1, 1), views(1, 2)));
  EXPECT_FALSE(at::equal(views(1, 1), views(2, 1)));
}

TEST(Loader, AnEpochOfAnotherSizeIsWhatALoaderOfThatSizeGives) {
  const NoiseSource source(20);
  EpochOrder order(source.size(), 10, 1, 9);
  TransformConfig smaller = kTransform;
  smaller.image_size = 7;
  Loader own(source, smaller, config_of(2));
  own.start_epoch(order, 0, 1);
  Loader loader(source, kTransform, config_of(2));
  loader.start_epoch(order, 0, 0);  // some of which is under way when the size changes
  loader.start_epoch(order, 0, 1, 0, smaller.image_size);
  expect_equal(rest_of(loader), rest_of(own));
  loader.start_evaluation({0, 1}, 2);
  EXPECT_EQ(next_of(loader).images.size(1), kTransform.image_size);
}

TEST(Loader, StartsInTheMiddleOfAnEpochWithTheSameBatches) {
  auto whole = epoch(2, 1);
  whole.erase(whole.begin(), whole.begin() + 3);
  expect_equal(epoch(2, 1, 3), whole);
  EXPECT_TRUE(epoch(2, 1, 6).empty());
}

TEST(Loader, EvaluatesTheListInItsOrder) {
  const NoiseSource source(20);
  Loader loader(source, kTransform, config_of(2));
  loader.start_evaluation({4, 19, 0, 7, 3}, 2);
  const auto batches = rest_of(loader);
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_EQ(labels_of(batches[0]), (std::vector<std::int64_t>{4, 19}));
  EXPECT_EQ(labels_of(batches[2]), (std::vector<std::int64_t>{3}));
  EXPECT_EQ(batches[2].global_count, 1);
  Bytes expected(12 * 12 * 3);
  ViewWriter(source).write_evaluation_view(19, kTransform, expected);
  const auto* first = batches[0].images[1].const_data_ptr<std::uint8_t>();
  EXPECT_EQ(Bytes(first, first + expected.size()), expected);
}

TEST(Loader, TheMemoryOfABatchIsUsedAgainOnceNobodyHoldsIt) {
  const NoiseSource source(64);
  Loader loader(source, kTransform, config_of(2, 2));
  EpochOrder order(64, 8, 1, 1);
  loader.start_epoch(order, 0, 0);
  std::set<const void*> places;
  const Batch kept = next_of(loader);
  const at::Tensor copy = kept.images.clone();
  while (const auto batch = loader.next()) {
    EXPECT_NE(batch->images.const_data_ptr(), kept.images.const_data_ptr());
    places.insert(batch->images.const_data_ptr());
  }
  EXPECT_LE(places.size(), 4U);
  EXPECT_TRUE(at::equal(kept.images, copy));
}

TEST(Loader, HasNothingBeforeItIsStartedAndAfterTheEnd) {
  const NoiseSource source(20);
  Loader loader(source, kTransform, config_of(1));
  EXPECT_FALSE(loader.next().has_value());
  loader.start_evaluation({}, 4);
  EXPECT_FALSE(loader.next().has_value());
  loader.start_evaluation({1}, 4);
  EXPECT_TRUE(loader.next().has_value());
  EXPECT_FALSE(loader.next().has_value());
  EXPECT_GE(loader.waited_ms(), 0);
}

/// Pictures of noise, the first of which is only there once it is let go.
class StuckSource : public NoiseSource {
 public:
  using NoiseSource::NoiseSource;

  void read(std::int64_t index, StoredImage& into) const override {
    if (index == 0) {
      asked_.count_down();
      released_.wait();
    }
    NoiseSource::read(index, into);
  }
  void wait_until_asked() const { asked_.wait(); }
  void release() { released_.count_down(); }

 private:
  mutable std::latch asked_{1};
  std::latch released_{1};
};

TEST(Loader, ARestartDoesNotWaitForWhatItDrops) {
  StuckSource source(8);
  Loader loader(source, kTransform, config_of(2));
  loader.start_evaluation({0}, 1);
  source.wait_until_asked();
  loader.start_evaluation({3, 5}, 2);
  EXPECT_EQ(labels_of(next_of(loader)), (std::vector<std::int64_t>{3, 5}));
  source.release();
  loader.start_evaluation({6}, 1);
  EXPECT_EQ(labels_of(next_of(loader)), (std::vector<std::int64_t>{6}));
}

class LoaderWithThreads : public ::testing::TestWithParam<int> {};

TEST_P(LoaderWithThreads, RethrowsTheFirstFailureOfTheBatchInItsTurnAndStartsAgain) {
  const NoiseSource source(40, {13, 25, 38});
  Loader loader(source, kTransform, config_of(GetParam()));
  std::vector<std::int64_t> indices(40);
  std::iota(indices.rbegin(), indices.rend(), 0);                     // 39, 38, ..., 0
  loader.start_evaluation({indices.begin() + 2, indices.end()}, 12);  // 37..26, 25..14, 13..2
  EXPECT_TRUE(loader.next().has_value());
  expect_input_error([&] { (void)loader.next(); }, "image 25 is broken");
  EXPECT_FALSE(loader.next().has_value());
  loader.start_evaluation({39, 38, 13, 1}, 4);
  expect_input_error([&] { (void)loader.next(); }, "image 38 is broken");
  loader.start_evaluation({1, 2}, 4);
  EXPECT_EQ(labels_of(next_of(loader)), (std::vector<std::int64_t>{1, 2}));
}

TEST_P(LoaderWithThreads, RestartingInTheMiddleDropsTheRest) {
  const NoiseSource source(64);
  Loader loader(source, kTransform, config_of(GetParam()));
  EpochOrder order(64, 8, 1, 1);
  for (std::int64_t number = 0; number < 50; ++number) {
    loader.start_epoch(order, 0, number);
    EXPECT_EQ(labels_of(next_of(loader)), order.indices(number, 0, 0));
    EXPECT_EQ(labels_of(next_of(loader)), order.indices(number, 1, 0));
  }
}

TEST_P(LoaderWithThreads, IsDestroyedCleanlyInTheMiddle) {
  const NoiseSource source(64);
  EpochOrder order(64, 8, 1, 1);
  for (int taken = 0; taken < 20; ++taken) {
    Loader loader(source, kTransform, config_of(GetParam()));
    loader.start_epoch(order, 0, 0);
    for (int i = 0; i < taken % 4; ++i) {
      EXPECT_TRUE(loader.next().has_value());
    }
  }
}

TEST_P(LoaderWithThreads, StartsNoOpenMpTeamsAndLeavesTheCallersNumberAlone) {
  const NoiseSource source(16);
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  Loader loader(source, kTransform, config_of(GetParam()));
  loader.start_evaluation({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 10);
  (void)loader.next();
  EXPECT_EQ(source.most_openmp_threads(), 1);
  EXPECT_EQ(at::get_num_threads(), 3);
  at::set_num_threads(before);
}

/// How often each picture was seen.
using Counts = std::map<std::int64_t, int>;

/// Steps [first, end) of an epoch on `world_size` ranks, each with a loader of its own.
void see(const NoiseSource& source, int world_size, std::int64_t epoch, std::int64_t first, std::int64_t end,
         Counts& counts) {
  constexpr std::int64_t kGlobalBatch = 20;
  for (int rank = 0; rank < world_size; ++rank) {
    EpochOrder order(source.size(), kGlobalBatch, world_size, 9);
    Loader loader(source, kTransform, config_of(1 + rank % 2));
    loader.start_epoch(order, rank, epoch, first);
    for (std::int64_t step = first; step < std::min(end, order.steps_per_epoch()); ++step) {
      for (const std::int64_t index : numbers_of(next_of(loader).indices)) {
        ++counts[index];
      }
    }
  }
}

TEST(Loader, EveryPictureIsSeenOnceAnEpochAlsoIfAnotherNumberOfRanksGoesOn) {
  constexpr std::int64_t kToTheEnd = std::numeric_limits<std::int64_t>::max();
  const NoiseSource source(103);
  Counts once;
  for (std::int64_t index = 0; index < source.size(); ++index) {
    once[index] = 1;
  }
  for (int before = 1; before <= 5; ++before) {
    for (int after = 1; after <= 5; ++after) {
      SCOPED_TRACE(concat(before, " ranks, then ", after));
      std::array<Counts, 3> counts;
      const std::int64_t stop = (before + after) % 5;  // in the second epoch
      see(source, before, 0, 0, kToTheEnd, counts[0]);
      see(source, before, 1, 0, stop, counts[1]);
      see(source, after, 1, stop, kToTheEnd, counts[1]);
      see(source, after, 2, 0, kToTheEnd, counts[2]);
      for (const Counts& of_epoch : counts) {
        EXPECT_EQ(of_epoch, once);
      }
    }
  }
}

TEST_P(LoaderWithThreads, SkippedPicturesAreReplacedByTheNextInTheEpochsOrder) {
  const NoiseSource whole(40);
  EpochOrder order(40, 20, 2, 9);
  const auto permutation = *order.permutation(1);
  const auto bad = std::set<std::int64_t>{permutation[3], permutation[4], permutation[19], permutation[39]};
  const NoiseSource source(40, bad);
  LoaderConfig config = config_of(GetParam());
  config.bad_images = BadImages::skip;
  std::vector<std::int64_t> seen;
  std::int64_t told = 0;
  for (int rank = 0; rank < 2; ++rank) {
    Loader loader(source, kTransform, config);
    loader.start_epoch(order, rank, 1);
    for (const Batch& batch : rest_of(loader)) {
      const auto labels = labels_of(batch);
      EXPECT_EQ(numbers_of(batch.indices), labels);
      seen.insert(seen.end(), labels.begin(), labels.end());
    }
    for (const auto& [index, why] : loader.bad_images()) {
      EXPECT_TRUE(bad.contains(index));
      EXPECT_NE(why.find(concat("image ", index, " is broken")), std::string::npos);
      ++told;
    }
  }
  // By rank and step: 0..9, 20..29, then 10..19, 30..39 of the permutation.
  std::vector<std::int64_t> expected;
  for (const std::size_t first : {0U, 20U, 10U, 30U}) {
    for (std::size_t at = first; at < first + 10; ++at) {
      std::size_t good = at;
      while (bad.contains(permutation[good % 40])) {
        ++good;
      }
      expected.push_back(permutation[good % 40]);
    }
  }
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(told, 4);
}

TEST_P(LoaderWithThreads, SkippedPicturesAreLeftOutOfEvaluations) {
  const NoiseSource source(20, {4, 7});
  LoaderConfig config = config_of(GetParam());
  config.bad_images = BadImages::skip;
  Loader loader(source, kTransform, config);
  loader.start_evaluation({4, 19, 0, 7, 3}, 3);
  const auto batches = rest_of(loader);
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_EQ(labels_of(batches[0]), (std::vector<std::int64_t>{kLeftOut, 19, 0}));
  EXPECT_EQ(labels_of(batches[1]), (std::vector<std::int64_t>{kLeftOut, 3}));
  EXPECT_EQ(numbers_of(batches[1].indices), (std::vector<std::int64_t>{7, 3}));
}

TEST_P(LoaderWithThreads, OnlyBadPicturesAreAnErrorEvenIfTheyAreSkipped) {
  const NoiseSource source(3, {0, 1, 2});
  LoaderConfig config = config_of(GetParam());
  config.bad_images = BadImages::skip;
  Loader loader(source, kTransform, config);
  EpochOrder order(3, 3, 1, 1);
  loader.start_epoch(order, 0, 0);
  expect_input_error([&] { (void)loader.next(); }, "all 3 pictures are bad");
}

INSTANTIATE_TEST_SUITE_P(Threads, LoaderWithThreads, ::testing::Values(0, 1, 4));

TEST(Loader, RunsAheadByTheGivenNumberOfBatchesOnly) {
  const NoiseSource source(64);
  EpochOrder order(64, 8, 1, 1);
  {
    Loader loader(source, kTransform, config_of(4, 2));
    loader.start_epoch(order, 0, 0);
    (void)loader.next();
  }
  EXPECT_GE(source.loads(), 8);
  EXPECT_LE(source.loads(), 3 * 8);  // the batch that was taken and two ahead
}

TEST(LoaderConfig, RefusesNegativeThreads) {
  const NoiseSource source(1);
  EXPECT_THROW(Loader(source, kTransform, {.threads = -1}), Error);
}

}  // namespace
}  // namespace slicereduce
