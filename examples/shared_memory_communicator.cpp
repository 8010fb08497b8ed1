#include "shared_memory_communicator.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <new>
#include <string_view>
#include <thread>
#include <utility>

#include "comm/wire.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

using namespace slicereduce;

struct alignas(64) SharedMemory::Place {
  std::atomic<std::uint64_t> arrived{0};   ///< collectives that its rank has left bytes for
  std::atomic<std::uint64_t> finished{0};  ///< of which it has taken all that it needs
  std::uint64_t bytes = 0;
  std::array<char, 24> what{};  ///< that its rank calls
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "counters are shared by processes");

SharedMemory::SharedMemory(int world_size, std::size_t most_bytes)
    : world_size_(world_size),
      most_bytes_(most_bytes),
      stride_(sizeof(Place) + (most_bytes + alignof(Place) - 1) / alignof(Place) * alignof(Place)),
      size_(stride_ * kOrders * kPlaces * static_cast<std::size_t>(world_size)) {
  // Pages that nobody writes to cost nothing: `most_bytes` may be generous.
  void* memory =
      mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw Error(ErrorKind::io, concat("no ", size_, " bytes of shared memory: ", std::strerror(errno)));
  }
  memory_ = static_cast<std::byte*>(memory);
  for (std::size_t number = 0; number < kOrders * kPlaces; ++number) {
    for (int rank = 0; rank < world_size; ++rank) {
      new (start_of(number, rank)) Place;
    }
  }
}

SharedMemory::~SharedMemory() { munmap(memory_, size_); }

std::byte* SharedMemory::start_of(std::size_t number, int rank) const {
  const auto ranks = static_cast<std::size_t>(world_size_);
  return memory_ + stride_ * (number * ranks + static_cast<std::size_t>(rank));
}

SharedMemory::Place& SharedMemory::place(std::size_t number, int rank) const {
  return *std::launder(reinterpret_cast<Place*>(start_of(number, rank)));
}

std::span<std::byte> SharedMemory::bytes(std::size_t number, int rank) const {
  return {start_of(number, rank) + sizeof(Place), most_bytes_};
}

/// One collective, seen from one rank.
class SharedMemoryCommunicator::Exchange {
 public:
  /// The `round`th that uses place `number`. `own` has to stay until test() has returned true.
  Exchange(SharedMemory& memory, int rank, std::size_t number, std::uint64_t round, const char* what,
           std::span<const std::byte> own)
      : memory_(memory), rank_(rank), number_(number), round_(round), what_(what), own_(own) {
    if (own.size() > memory.most_bytes()) {
      throw Error(ErrorKind::usage, concat(what, " of ", own.size(), " bytes: this shared memory takes ",
                                           memory.most_bytes(), " at most"));
    }
    leave_own();
  }

  /// Whether the bytes of all ranks are here. Never waits. Throws Error(disagreement).
  [[nodiscard]] bool test() {
    if (!leave_own() || !all_ranks([this](const auto& place) { return place.arrived > round_; })) {
      return false;
    }
    require_agreement();
    return true;
  }
  [[nodiscard]] int world_size() const { return memory_.world_size(); }
  [[nodiscard]] std::span<const std::byte> bytes_of(int rank) const {
    return memory_.bytes(number_, rank).first(own_.size());
  }
  /// This rank has no more need of them. Once that is so of all ranks, the place is free.
  void finish() { memory_.place(number_, rank_).finished = round_ + 1; }

 private:
  template <typename Condition>
  [[nodiscard]] bool all_ranks(Condition condition) const {
    for (int rank = 0; rank < world_size(); ++rank) {
      if (!condition(memory_.place(number_, rank))) {
        return false;
      }
    }
    return true;
  }

  /// As soon as all ranks are done with the collective that had the place before. Says whether it is done.
  bool leave_own() {
    if (!left_ && all_ranks([this](const auto& place) { return place.finished >= round_; })) {
      SharedMemory::Place& place = memory_.place(number_, rank_);
      std::ranges::copy(own_, memory_.bytes(number_, rank_).begin());
      place.bytes = own_.size();
      place.what.fill('\0');
      what_.copy(place.what.data(), place.what.size() - 1);
      place.arrived = round_ + 1;  // last: others read the rest once they see it
      left_ = true;
    }
    return left_;
  }

  void require_agreement() const {
    const SharedMemory::Place& own = memory_.place(number_, rank_);
    for (int rank = 0; rank < world_size(); ++rank) {
      const SharedMemory::Place& other = memory_.place(number_, rank);
      if (other.bytes != own.bytes || other.what != own.what) {
        throw Error(ErrorKind::disagreement,
                    concat("rank ", rank_, " calls ", own.what.data(), " of ", own.bytes, " bytes, rank ",
                           rank, " ", other.what.data(), " of ", other.bytes));
      }
    }
  }

  SharedMemory& memory_;
  int rank_;
  std::size_t number_;
  std::uint64_t round_;
  std::string_view what_;
  std::span<const std::byte> own_;
  bool left_ = false;
};

namespace {

void copy(std::span<const std::byte> from, std::span<std::byte> to) { std::ranges::copy(from, to.begin()); }

/// result[i] = operation(result[i], contribution[i]) for numbers of type T.
template <typename T, typename Operation>
void fold(std::span<std::byte> result, std::span<const std::byte> contribution, Operation operation) {
  for (std::size_t at = 0; at < result.size(); at += sizeof(T)) {
    T left;
    T right;
    std::memcpy(&left, &result[at], sizeof(T));
    std::memcpy(&right, &contribution[at], sizeof(T));
    left = operation(left, right);
    std::memcpy(&result[at], &left, sizeof(T));
  }
}

/// A reduction that was started: `add` brings a contribution into the result.
template <typename Exchange, typename Add>
class Reduction final : public Pending {
 public:
  Reduction(std::unique_ptr<Exchange> exchange, std::span<std::byte> result, Add add)
      : exchange_(std::move(exchange)), result_(result), add_(std::move(add)) {}

  [[nodiscard]] bool test() override {
    if (exchange_ && exchange_->test()) {
      copy(exchange_->bytes_of(0), result_);
      for (int rank = 1; rank < exchange_->world_size(); ++rank) {
        add_(result_, exchange_->bytes_of(rank));
      }
      exchange_->finish();
      exchange_.reset();
    }
    return !exchange_;
  }

 private:
  std::unique_ptr<Exchange> exchange_;
  std::span<std::byte> result_;
  Add add_;
};

template <typename Exchange, typename Add>
std::unique_ptr<Pending> reduce(std::unique_ptr<Exchange> exchange, std::span<std::byte> result, Add add) {
  return std::make_unique<Reduction<Exchange, Add>>(std::move(exchange), result, std::move(add));
}

}  // namespace

SharedMemoryCommunicator::SharedMemoryCommunicator(SharedMemory& memory, int rank,
                                                   std::chrono::milliseconds timeout)
    : memory_(memory), rank_(rank), timeout_(timeout) {
  require(0 <= rank && rank < memory.world_size(), "a rank of this memory's world");
}

std::unique_ptr<SharedMemoryCommunicator::Exchange> SharedMemoryCommunicator::start(
    Order order, const char* what, std::span<const std::byte> bytes) {
  const auto which = static_cast<std::size_t>(order);
  const std::uint64_t started = started_.at(which)++;
  const std::size_t number = which * SharedMemory::kPlaces + started % SharedMemory::kPlaces;
  return std::make_unique<Exchange>(memory_, rank_, number, started / SharedMemory::kPlaces, what, bytes);
}

std::unique_ptr<Pending> SharedMemoryCommunicator::start_allreduce(WireBuffer buffer) {
  // What each type is called by, in the order of WireType.
  constexpr std::array kNames{"allreduce fp32", "allreduce bf16", "allreduce fp16"};
  const char* what = kNames.at(static_cast<std::size_t>(buffer.type));
  return reduce(start(Order::reduction, what, buffer.bytes), buffer.bytes,
                [type = buffer.type](std::span<std::byte> sum, std::span<const std::byte> contribution) {
                  add_into(sum, contribution, type);
                });
}

std::unique_ptr<Pending> SharedMemoryCommunicator::start_allreduce_min(std::span<std::uint64_t> values) {
  const std::span<std::byte> bytes = std::as_writable_bytes(values);
  return reduce(start(Order::reduction, "allreduce_min", bytes), bytes,
                [](std::span<std::byte> smallest, std::span<const std::byte> contribution) {
                  fold<std::uint64_t>(smallest, contribution,
                                      [](std::uint64_t a, std::uint64_t b) { return std::min(a, b); });
                });
}

/// All ranks' bytes, in rank order. The blocking calls are made of it.
std::vector<std::byte> SharedMemoryCommunicator::meet(const char* what, std::span<const std::byte> bytes) {
  const Wait wait(*this);  // so that a watchdog can tell who waits for others
  const auto exchange = start(Order::control, what, bytes);
  const auto end = std::chrono::steady_clock::now() + timeout_;
  while (!exchange->test()) {
    if (std::chrono::steady_clock::now() > end) {
      throw Error(ErrorKind::mpi,
                  concat(what, " on rank ", rank_, ": no other rank came in ", timeout_.count(), " ms"));
    }
    std::this_thread::yield();
  }
  std::vector<std::byte> all;
  for (int rank = 0; rank < world_size(); ++rank) {
    const auto of_rank = exchange->bytes_of(rank);
    all.insert(all.end(), of_rank.begin(), of_rank.end());
  }
  exchange->finish();
  return all;
}

void SharedMemoryCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  require(0 <= root && root < world_size(), "broadcast: the root is a rank");
  const std::vector<std::byte> all = meet("broadcast", bytes);
  copy(std::span(all).subspan(bytes.size() * static_cast<std::size_t>(root), bytes.size()), bytes);
}

std::vector<std::byte> SharedMemoryCommunicator::allgather(std::span<const std::byte> bytes) {
  return meet("allgather", bytes);
}

void SharedMemoryCommunicator::gather(std::span<const std::byte> bytes, std::span<std::byte> all, int root) {
  require(0 <= root && root < world_size(), "gather: the root is a rank");
  const std::vector<std::byte> gathered = meet("gather", bytes);
  if (rank_ == root) {
    require(all.size() == gathered.size(), "gather: the root has room for all ranks' bytes");
    copy(gathered, all);
  }
}

void SharedMemoryCommunicator::allreduce_sum(std::span<double> values) {
  const std::span<std::byte> bytes = std::as_writable_bytes(values);
  const std::vector<std::byte> all = meet("allreduce_sum", bytes);
  copy(std::span(all).first(bytes.size()), bytes);
  for (std::size_t at = bytes.size(); at < all.size(); at += bytes.size()) {
    fold<double>(bytes, std::span(all).subspan(at, bytes.size()), std::plus<>());
  }
}

void SharedMemoryCommunicator::barrier() { (void)meet("barrier", {}); }
