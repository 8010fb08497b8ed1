#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "imagenet/epoch_order.hpp"
#include "imagenet/image_source.hpp"
#include "imagenet/transform.hpp"
#include "imagenet/view_writer.hpp"

namespace slicereduce {

/// The label of a picture that is left out of an evaluation.
inline constexpr std::int64_t kLeftOut = -1;

/// What one rank sees in one step, in host memory.
struct Batch {
  at::Tensor images;              ///< uint8 [n, image_size, image_size, channels]
  at::Tensor labels;              ///< int64 [n], some perhaps kLeftOut
  at::Tensor indices;             ///< int64 [n], which pictures of the source these are
  std::int64_t global_count = 0;  ///< images of this step over all ranks; when evaluating, n
};

/// What is done about pictures that can't be read or decoded.
enum class BadImages {
  error,  ///< next() throws
  skip,   ///< training takes the next one in the epoch's order, evaluation leaves it out
};

/// How batches are made.
struct LoaderConfig {
  int threads = 4;           ///< 0: next() does the work itself (--workers)
  int prefetch_batches = 4;  ///< batches that are ready or under way, at most
  std::uint64_t seed = 0;    ///< of the augmentation
  BadImages bad_images = BadImages::error;
  std::vector<int> cores;  ///< that its threads may run on; none: all that the process may
  bool pinned = false;     ///< batches in memory that a CUDA device copies from by itself; needs one
  /// Told why each picture that is skipped is bad, once, by the thread that found it. May be empty.
  std::function<void(const std::string&)> on_bad_image;

  /// Throws Error(usage) naming the option.
  void validate() const;
};

/// Turns a source into batches, on threads of its own that run ahead by a bounded number of batches. The
/// batches are a function of source, transform, seed and order: the number of threads changes nothing.
/// The memory of a batch that nobody holds any more is used again: hold it until a device has copied it.
///
/// One thread calls start_*() and next(). Starting again, or destroying the loader, drops what is left.
class Loader {
 public:
  /// `source` must outlive the loader.
  Loader(const ImageSource& source, const TransformConfig& transform, const LoaderConfig& config);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Training views of `epoch`, from `first_step` to its end, one batch a step. `order` is used before
  /// this returns, not after. `image_size`: of these views, where it is not the transform's (0).
  void start_epoch(EpochOrder& order, int rank, std::int64_t epoch, std::int64_t first_step = 0,
                   std::int64_t image_size = 0);
  /// Evaluation views of `indices` in their order, `batch_size` at a time, the last batch smaller.
  void start_evaluation(const std::vector<std::int64_t>& indices, std::int64_t batch_size);

  /// The next batch, or nothing after the last. Blocks until it is ready. Rethrows what a source threw for an
  /// image of this batch (the first of them); the loader then has to be started again.
  [[nodiscard]] std::optional<Batch> next();
  /// How long the last next() took: the time that loading was not hidden.
  [[nodiscard]] double waited_ms() const { return waited_ms_; }
  /// Why pictures were skipped so far, by their index: each is told once, however often it comes.
  [[nodiscard]] std::map<std::int64_t, std::string> bad_images() const;
  /// Where the time of all threads went so far.
  [[nodiscard]] ViewTimes times() const;

 private:
  enum class View { training, evaluation };
  using Order = std::shared_ptr<const std::vector<std::int64_t>>;
  struct Planned {
    EpochOrder::Part part;
    std::int64_t global_count;
  };
  /// What start_*() asks for.
  struct Pass {
    Order order;
    View view = View::training;
    std::int64_t epoch = 0;
    TransformConfig transform;
  };
  struct Pending;
  struct Piece;

  void start(std::deque<Planned> planned, Pass pass);
  void open_batches();
  [[nodiscard]] std::shared_ptr<Pending> open_next();
  [[nodiscard]] at::Tensor free_images(std::int64_t count, std::int64_t side);
  [[nodiscard]] at::Tensor new_images(const std::vector<std::int64_t>& shape) const;
  [[nodiscard]] at::TensorOptions memory_of(at::ScalarType type) const;
  void abandon();
  void work(const std::stop_token& stop);
  [[nodiscard]] std::optional<Piece> take_piece();
  void fill(const Piece& piece, ViewWriter& writer);
  void write_row(Pending& pending, std::int64_t position, ViewWriter& writer);
  void write_image(Pending& pending, std::int64_t position, std::int64_t index, ViewWriter& writer);
  [[nodiscard]] bool is_bad(std::int64_t index) const;
  void note_bad(std::int64_t index, const Error& why);

  const ImageSource& source_;
  TransformConfig transform_;
  LoaderConfig config_;
  // Touched by the caller's thread only:
  std::deque<Planned> planned_;
  Pass pass_;
  std::vector<at::Tensor> images_;  // of batches under way, handed out, or free
  std::unique_ptr<ViewWriter> own_writer_;
  double waited_ms_ = 0;
  // Under mutex_, with the counters in each Pending:
  mutable std::mutex mutex_;
  std::condition_variable_any work_available_;
  std::condition_variable batch_finished_;
  std::deque<std::shared_ptr<Pending>> window_;
  std::map<std::int64_t, std::string> bad_images_;
  ViewTimes times_;
  // Last, so that the threads end before what they use.
  std::vector<std::jthread> threads_;
};

}  // namespace slicereduce
