#include "imagenet/loader.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <span>
#include <utility>

#include "core/error.hpp"
#include "core/random.hpp"
#include "core/text.hpp"

// Not from omp.h: it is g++'s own, and clang-tidy has none.
extern "C" void omp_set_num_threads(int number) noexcept;

namespace slicereduce {

namespace {

/// Images are the parallelism here. An OpenMP team to resize one picture costs more than it brings: 150
/// photographs a second where one thread does 570 (2 cores, one of them busy).
class OneOpenMpThread {
 public:
  // LibTorch sets a thread's number when it is first asked for: it has to be asked before.
  OneOpenMpThread() : before_(at::get_num_threads()) { omp_set_num_threads(1); }
  ~OneOpenMpThread() { omp_set_num_threads(before_); }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  int before_;
};

}  // namespace

/// A batch under way. Threads hold it too, so that a restart may forget it while they still write to it.
struct Loader::Pending {
  std::vector<std::int64_t> indices;
  View view;
  std::int64_t epoch;
  TransformConfig transform;
  Batch batch;
  // Under the loader's mutex:
  std::size_t taken = 0;
  std::size_t finished = 0;
  std::size_t failed_at = 0;
  std::exception_ptr failure;

  // Of several failures the first image's is kept: which one is told does not depend on threads.
  void fail(std::size_t position, std::exception_ptr why) {
    if (!failure || position < failed_at) {
      failed_at = position;
      failure = std::move(why);
    }
  }
};

/// A thread's share of a batch: small, so that all threads work on the batch that is waited for, but not one
/// image, as taking the mutex costs more than a small picture.
struct Loader::Piece {
  std::shared_ptr<Pending> pending;
  std::size_t first;
  std::size_t end;
};

void LoaderConfig::validate() const {
  constexpr int kMostThreads = 1024;
  if (threads < 0 || threads > kMostThreads) {
    throw Error(ErrorKind::usage, concat("--workers ", threads, ": expected 0 to ", kMostThreads));
  }
  require(prefetch_batches > 0, "LoaderConfig: prefetch_batches must be positive");
}

Loader::Loader(const ImageSource& source, const TransformConfig& transform, const LoaderConfig& config)
    : source_(source), transform_(transform), config_(config) {
  transform_.validate();
  config_.validate();
  for (int i = 0; i < config_.threads; ++i) {
    threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }
}

Loader::~Loader() { abandon(); }

void Loader::start_epoch(EpochOrder& order, int rank, std::int64_t epoch, std::int64_t first_step,
                         std::int64_t image_size) {
  require(first_step >= 0 && first_step <= order.steps_per_epoch(), "Loader: first_step is beyond the epoch");
  std::deque<Planned> planned;
  for (std::int64_t step = first_step; step < order.steps_per_epoch(); ++step) {
    planned.push_back({order.indices(epoch, step, rank), order.global_count(step)});
  }
  start(std::move(planned), View::training, epoch, image_size > 0 ? image_size : transform_.image_size);
}

void Loader::start_evaluation(const std::vector<std::int64_t>& indices, std::int64_t batch_size) {
  require(batch_size > 0, "Loader: batch_size must be positive");
  std::deque<Planned> planned;
  for (std::size_t first = 0; first < indices.size(); first += static_cast<std::size_t>(batch_size)) {
    const std::size_t count = std::min(indices.size() - first, static_cast<std::size_t>(batch_size));
    const auto from = indices.begin() + static_cast<std::ptrdiff_t>(first);
    planned.push_back({{from, from + static_cast<std::ptrdiff_t>(count)}, static_cast<std::int64_t>(count)});
  }
  start(std::move(planned), View::evaluation, 0, transform_.image_size);
}

void Loader::start(std::deque<Planned> planned, View view, std::int64_t epoch, std::int64_t image_size) {
  abandon();
  planned_ = std::move(planned);
  view_ = view;
  epoch_ = epoch;
  image_size_ = image_size;
  open_batches();
}

void Loader::abandon() {
  planned_.clear();
  const std::lock_guard lock(mutex_);
  window_.clear();
}

void Loader::open_batches() {
  while (!planned_.empty()) {
    // Only this thread adds: between the two locks the window can't grow.
    if (const std::lock_guard lock(mutex_);
        window_.size() >= static_cast<std::size_t>(config_.prefetch_batches)) {
      return;
    }
    auto pending = open_next();
    const std::lock_guard lock(mutex_);
    window_.push_back(std::move(pending));
    work_available_.notify_all();
  }
}

std::shared_ptr<Loader::Pending> Loader::open_next() {
  auto pending = std::make_shared<Pending>();
  pending->indices = std::move(planned_.front().indices);
  pending->view = view_;
  pending->epoch = epoch_;
  pending->transform = transform_;
  pending->transform.image_size = image_size_;
  pending->transform.padding = std::min(transform_.padding, image_size_);
  pending->batch.global_count = planned_.front().global_count;
  planned_.pop_front();
  const auto count = static_cast<std::int64_t>(pending->indices.size());
  const std::int64_t side = image_size_;
  pending->batch.images = at::empty({count, side, side, source_.channels()}, at::kByte);
  pending->batch.labels = at::empty({count}, at::kLong);
  return pending;
}

std::optional<Batch> Loader::next() {
  const auto begin = std::chrono::steady_clock::now();
  std::shared_ptr<Pending> ready;
  {
    std::unique_lock lock(mutex_);
    if (window_.empty()) {
      return std::nullopt;
    }
    ready = window_.front();
  }
  if (threads_.empty()) {
    fill({ready, 0, ready->indices.size()});
  }
  {
    std::unique_lock lock(mutex_);
    batch_finished_.wait(lock, [&ready] { return ready->finished == ready->indices.size(); });
    window_.pop_front();
  }
  if (ready->failure) {
    abandon();
    std::rethrow_exception(std::exchange(ready->failure, nullptr));
  }
  open_batches();
  waited_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  return std::move(ready->batch);
}

void Loader::work(const std::stop_token& stop) {
  while (true) {
    std::optional<Piece> piece;
    {
      std::unique_lock lock(mutex_);
      work_available_.wait(lock, stop, [&] { return (piece = take_piece()).has_value(); });
    }
    if (!piece || stop.stop_requested()) {
      return;
    }
    fill(*piece);
  }
}

std::optional<Loader::Piece> Loader::take_piece() {
  constexpr std::size_t kImages = 8;
  for (const auto& pending : window_) {
    const std::size_t first = pending->taken;
    if (first < pending->indices.size()) {
      pending->taken = std::min(pending->indices.size(), first + kImages);
      return Piece{pending, first, pending->taken};
    }
  }
  return std::nullopt;
}

void Loader::fill(const Piece& piece) {
  const OneOpenMpThread one_thread;
  std::exception_ptr failure;
  std::size_t position = piece.first;
  try {
    for (; position < piece.end; ++position) {
      write_image(*piece.pending, position);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  if (failure) {
    piece.pending->fail(position, std::move(failure));
  }
  piece.pending->finished += piece.end - piece.first;
  batch_finished_.notify_one();
}

void Loader::write_image(Pending& pending, std::size_t position) const {
  const std::int64_t index = pending.indices[position];
  const Image image = source_.load(index);
  require(image.channels == source_.channels(), "Loader: a picture has other channels than its source");
  const TransformConfig& transform = pending.transform;
  const auto row_bytes =
      static_cast<std::size_t>(transform.image_size * transform.image_size * image.channels);
  const std::span<std::uint8_t> row(
      pending.batch.images.mutable_data_ptr<std::uint8_t>() + position * row_bytes, row_bytes);
  pending.batch.labels.mutable_data_ptr<std::int64_t>()[position] = source_.label(index);
  if (pending.view == View::evaluation) {
    write_evaluation_view(image, transform, row);
    return;
  }
  RandomStream random(config_.seed, RandomPurpose::augment, static_cast<std::uint64_t>(pending.epoch),
                      static_cast<std::uint64_t>(index));
  write_training_view(image, transform, random, row);
}

}  // namespace slicereduce
