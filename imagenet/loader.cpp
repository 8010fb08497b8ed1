#include "imagenet/loader.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <future>
#include <span>
#include <utility>

#include "core/error.hpp"
#include "core/numa.hpp"
#include "core/profile_range.hpp"
#include "core/random.hpp"
#include "core/text.hpp"
#include "core/timeline.hpp"

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
  Pass pass;
  EpochOrder::Part part;
  Batch batch;
  // Under the loader's mutex:
  std::int64_t taken = 0;
  std::int64_t finished = 0;
  std::int64_t failed_at = 0;
  std::exception_ptr failure;

  // Of several failures the first image's is kept: which one is told does not depend on threads.
  void fail(std::int64_t position, std::exception_ptr why) {
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
  std::int64_t first;
  std::int64_t end;
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
  if (config_.threads == 0) {
    own_writer_ = std::make_unique<ViewWriter>(source_);
  }
  for (int i = 0; i < config_.threads; ++i) {
    threads_.emplace_back([this, i](const std::stop_token& stop) {
      name_this_thread(concat("loader ", i));
      work(stop);
    });
  }
}

Loader::~Loader() { abandon(); }

void Loader::start_epoch(EpochOrder& order, int rank, std::int64_t epoch, std::int64_t first_step,
                         std::int64_t image_size) {
  require(first_step >= 0 && first_step <= order.steps_per_epoch(), "Loader: first_step is beyond the epoch");
  std::deque<Planned> planned;
  for (std::int64_t step = first_step; step < order.steps_per_epoch(); ++step) {
    planned.push_back({order.part(step, rank), order.global_count(step)});
  }
  Pass pass{order.permutation(epoch), View::training, epoch, transform_};
  if (image_size > 0) {
    pass.transform.image_size = image_size;
    pass.transform.padding = std::min(transform_.padding, image_size);
  }
  start(std::move(planned), std::move(pass));
}

void Loader::start_evaluation(const std::vector<std::int64_t>& indices, std::int64_t batch_size) {
  require(batch_size > 0, "Loader: batch_size must be positive");
  const auto size = static_cast<std::int64_t>(indices.size());
  std::deque<Planned> planned;
  for (std::int64_t first = 0; first < size; first += batch_size) {
    const std::int64_t count = std::min(size - first, batch_size);
    planned.push_back({{first, count}, count});
  }
  start(std::move(planned),
        {std::make_shared<const std::vector<std::int64_t>>(indices), View::evaluation, 0, transform_});
}

void Loader::start(std::deque<Planned> planned, Pass pass) {
  abandon();
  planned_ = std::move(planned);
  pass_ = std::move(pass);
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
  pending->pass = pass_;
  pending->part = planned_.front().part;
  pending->batch.global_count = planned_.front().global_count;
  planned_.pop_front();
  pending->batch.images = free_images(pending->part.count, pass_.transform.image_size);
  pending->batch.labels = at::empty({pending->part.count}, memory_of(at::kLong));
  pending->batch.indices = at::empty({pending->part.count}, at::kLong);
  return pending;
}

// A fresh batch of 256 photographs is 40 MB of pages that the system has to clear first.
at::Tensor Loader::free_images(std::int64_t count, std::int64_t side) {
  const auto shape = std::vector<std::int64_t>{count, side, side, source_.channels()};
  const auto is_free = [](const at::Tensor& images) {
    return images.use_count() == 1 && images.storage().use_count() == 1;
  };
  for (const at::Tensor& images : images_) {
    if (is_free(images) && images.sizes() == shape) {
      return images;
    }
  }
  std::erase_if(images_, is_free);
  return images_.emplace_back(new_images(shape));
}

/// Pinned memory lies near the thread that asks for it, whoever writes to it then.
at::Tensor Loader::new_images(const std::vector<std::int64_t>& shape) const {
  if (config_.cores.empty()) {
    return at::empty(shape, memory_of(at::kByte));
  }
  auto there = std::async(std::launch::async, [&] {
    keep_this_thread_on(config_.cores);
    return at::empty(shape, memory_of(at::kByte));
  });
  return there.get();
}

at::TensorOptions Loader::memory_of(at::ScalarType type) const {
  return at::TensorOptions(type).pinned_memory(config_.pinned);
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
    const OneOpenMpThread one_thread;
    fill({ready, 0, ready->part.count}, *own_writer_);
  }
  {
    std::unique_lock lock(mutex_);
    batch_finished_.wait(lock, [&ready] { return ready->finished == ready->part.count; });
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
  const OneOpenMpThread one_thread;
  keep_this_thread_on(config_.cores);
  ViewWriter writer(source_);
  while (true) {
    std::optional<Piece> piece;
    {
      std::unique_lock lock(mutex_);
      work_available_.wait(lock, stop, [&] { return (piece = take_piece()).has_value(); });
    }
    if (!piece || stop.stop_requested()) {
      return;
    }
    fill(*piece, writer);
  }
}

std::optional<Loader::Piece> Loader::take_piece() {
  constexpr std::int64_t kMostImages = 8;
  for (const auto& pending : window_) {
    const std::int64_t count = pending->part.count;
    if (pending->taken < count) {
      const std::int64_t images = std::clamp<std::int64_t>(count / (4 * config_.threads), 1, kMostImages);
      const std::int64_t first = pending->taken;
      pending->taken = std::min(count, first + images);
      return Piece{pending, first, pending->taken};
    }
  }
  return std::nullopt;
}

void Loader::fill(const Piece& piece, ViewWriter& writer) {
  const ProfileRange range("images");
  const ViewTimes before = writer.times();
  std::exception_ptr failure;
  std::int64_t position = piece.first;
  try {
    for (; position < piece.end; ++position) {
      write_row(*piece.pending, position, writer);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  if (failure) {
    piece.pending->fail(position, std::move(failure));
  }
  times_ += writer.times() - before;
  piece.pending->finished += piece.end - piece.first;
  batch_finished_.notify_one();
}

void Loader::write_row(Pending& pending, std::int64_t position, ViewWriter& writer) {
  const auto& order = *pending.pass.order;
  const auto size = static_cast<std::int64_t>(order.size());
  for (std::int64_t later = 0; later < size; ++later) {
    const std::int64_t index =
        order[static_cast<std::size_t>((pending.part.first + position + later) % size)];
    pending.batch.indices.mutable_data_ptr<std::int64_t>()[position] = index;
    if (!is_bad(index)) {
      try {
        write_image(pending, position, index, writer);
        return;
      } catch (const Error& why) {
        if (config_.bad_images == BadImages::error || why.kind() != ErrorKind::input) {
          throw;
        }
        note_bad(index, why);
      }
    }
    if (pending.pass.view == View::evaluation) {
      pending.batch.images[position].zero_();
      pending.batch.labels.mutable_data_ptr<std::int64_t>()[position] = kLeftOut;
      return;
    }
  }
  throw Error(ErrorKind::input,
              concat("all ", size, " pictures are bad: there is none to train with; check --data"));
}

void Loader::write_image(Pending& pending, std::int64_t position, std::int64_t index, ViewWriter& writer) {
  const TransformConfig& transform = pending.pass.transform;
  const auto row_bytes =
      static_cast<std::size_t>(transform.image_size * transform.image_size * source_.channels());
  const std::span<std::uint8_t> row(
      pending.batch.images.mutable_data_ptr<std::uint8_t>() + static_cast<std::size_t>(position) * row_bytes,
      row_bytes);
  pending.batch.labels.mutable_data_ptr<std::int64_t>()[position] = source_.label(index);
  if (pending.pass.view == View::evaluation) {
    writer.write_evaluation_view(index, transform, row);
    return;
  }
  RandomStream random = augmentation(config_.seed, pending.pass.epoch, index);
  writer.write_training_view(index, transform, random, row);
}

bool Loader::is_bad(std::int64_t index) const {
  if (config_.bad_images == BadImages::error) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  return bad_images_.contains(index);
}

void Loader::note_bad(std::int64_t index, const Error& why) {
  {
    const std::lock_guard lock(mutex_);
    if (!bad_images_.try_emplace(index, why.what()).second) {
      return;
    }
  }
  if (config_.on_bad_image) {
    config_.on_bad_image(why.what());
  }
}

std::map<std::int64_t, std::string> Loader::bad_images() const {
  const std::lock_guard lock(mutex_);
  return bad_images_;
}

ViewTimes Loader::times() const {
  const std::lock_guard lock(mutex_);
  return times_;
}

}  // namespace slicereduce
