#pragma once

#include <c10/core/Device.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/wire.hpp"

namespace at {
class Tensor;
}
namespace c10 {
struct Event;
class Stream;
}  // namespace c10

namespace slicereduce {

/// A view of numbers to be reduced in place. bytes.size() is a multiple of wire_size(type).
struct WireBuffer {
  std::span<std::byte> bytes;
  WireType type = WireType::fp32;
  /// In a device's memory: when the numbers are there. None: they are.
  std::shared_ptr<const c10::Event> ready = nullptr;
};

/// Called with the stream of an AllReduce, or the current one of host memory, as it is about to be given the
/// sum, and once it was.
struct OnItsStream {
  std::function<void(c10::Stream)> before;
  std::function<void(c10::Stream)> after;
};

/// A collective that was started. What it reads and writes must stay until test() has returned true;
/// dropping it earlier is only for a process that ends on an error.
class Pending {
 public:
  virtual ~Pending() = default;

  /// Moves the collective on and says whether it is done; true again after that. Never waits for
  /// another rank. Throws Error(mpi), or Error(disagreement) where ranks called different things.
  [[nodiscard]] virtual bool test() = 0;
};

/// How ranks exchange bytes: of host memory, but for start_allreduce() where device() is another. Results are
/// bit-equal on all ranks. What is "Collective" must be called by every rank, with the same sizes and types
/// and in the same order. The start_ calls form one such order and the blocking calls another, so one thread
/// may reduce while another one talks; neither half is for two threads at once.
class Communicator {
 public:
  virtual ~Communicator() = default;

  [[nodiscard]] virtual int rank() const noexcept = 0;
  [[nodiscard]] virtual int world_size() const noexcept = 0;
  /// In whose memory start_allreduce() reduces.
  [[nodiscard]] virtual c10::Device device() const noexcept { return c10::kCPU; }
  /// That of the same ranks which reduces in host memory: this one, or one that it is built upon.
  [[nodiscard]] virtual Communicator& on_host() noexcept { return *this; }
  [[nodiscard]] virtual const Communicator& on_host() const noexcept { return *this; }

  /// Memory of device() for numbers that go out step after step: where the network reaches it without a copy
  /// in between, if the communicator knows of such. All ranks must ask for the same, in the same order, and
  /// send from the same places of it.
  [[nodiscard]] virtual at::Tensor make_buffer(std::int64_t numel, WireType type);

  /// Collective. Sums in place over all ranks; 2-byte types round each partial sum to nearest even.
  [[nodiscard]] virtual std::unique_ptr<Pending> start_allreduce(WireBuffer buffer) = 0;
  /// Collective, one of the start_ calls. The same in the order of a stream, that the host may go on: gives
  /// what the stream passes when the sum is there, for other streams to wait for. In host memory: blocks
  /// until it is there, and gives nothing.
  [[nodiscard]] virtual std::shared_ptr<const c10::Event> enqueue_allreduce(WireBuffer buffer,
                                                                            const OnItsStream& around);
  /// Throws Error(mpi) where it is known that what was enqueued can't come to its end.
  virtual void require_healthy() const {}
  /// Collective. The smallest of all ranks' values, element by element, in place.
  [[nodiscard]] virtual std::unique_ptr<Pending> start_allreduce_min(std::span<std::uint64_t> values) = 0;

  /// Collective. Blocks. `root`'s bytes on all ranks.
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  /// Collective. Blocks. All ranks' bytes, equally many from each, in rank order.
  [[nodiscard]] virtual std::vector<std::byte> allgather(std::span<const std::byte> bytes) = 0;
  /// Collective. Blocks. The same into `all` of `root`, which has world_size times as many bytes; others' is
  /// not looked at.
  virtual void gather(std::span<const std::byte> bytes, std::span<std::byte> all, int root) = 0;
  /// Collective. Blocks. Sums in place over all ranks.
  virtual void allreduce_sum(std::span<double> values) = 0;
  /// Collective. Blocks until every rank has called it.
  virtual void barrier() = 0;

  /// Held by a thread as long as it waits for other ranks, so that waits() of on_host() can tell: ranks look
  /// there for all that are built upon it.
  class Wait {
   public:
    explicit Wait(const Communicator& communicator) : waiting_(communicator.on_host().waiting_) {
      ++waiting_;
    }
    ~Wait() { --waiting_; }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    Wait(Wait&&) = delete;
    Wait& operator=(Wait&&) = delete;

   private:
    std::atomic<int>& waiting_;
  };
  /// Whether a thread of this rank waits for others. From any thread.
  [[nodiscard]] bool waits() const noexcept { return waiting_ > 0; }

  /// For whoever has waited for longer than is allowed, `why` saying for what: from any thread, with what MPI
  /// may still write to in its place. Throws Error(mpi), if it does not end the process.
  [[noreturn]] virtual void give_up(const std::string& why) const;

 private:
  mutable std::atomic<int> waiting_{0};
};

/// Collective. Blocks. Every rank's text, in rank order, on all ranks; they may differ in length.
[[nodiscard]] std::vector<std::string> allgather_texts(Communicator& communicator, std::string_view text);
/// The same on `root` alone; nothing on the others.
[[nodiscard]] std::vector<std::string> gather_texts(Communicator& communicator, std::string_view text,
                                                    int root);

}  // namespace slicereduce
