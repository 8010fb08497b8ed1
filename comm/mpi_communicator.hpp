#pragma once

#include <mpi.h>

#include <chrono>
#include <climits>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/check_mpi.hpp"
#include "comm/communicator.hpp"
#include "comm/node_hierarchy.hpp"

namespace slicereduce {

/// How Open MPI's non-blocking AllReduce is done.
enum class AllreduceAlgorithm : std::uint8_t { library, ring, binomial, rabenseifner, recursive_doubling };
/// Throws Error(usage) for another name.
[[nodiscard]] AllreduceAlgorithm parse_allreduce_algorithm(std::string_view name);

/// Chooses for this process. Sets an environment variable, which other MPI libraries ignore: call it before
/// MPI_Init and before any thread is started.
void choose_allreduce(AllreduceAlgorithm algorithm);
/// Chooses what was measured to be fastest, unless the user's environment has chosen. AllReduce as a ring:
/// the library's own choice took 335 ms for 10 MB on three hosts at 1 Gbit/s, the ring 119 to 127. Reduce and
/// broadcast, which a NodeHierarchy uses on a node, as binomial trees: of two ranks the library makes chains
/// of 8 kB, one at each test, and 10 MB on two nodes of two ranks took 538 ms with them, 99 with trees, 142
/// as one ring (Open MPI 4.1.4).
void prefer_measured_algorithms();

/// Ranks that are MPI processes. Owns
/// duplicates of `parent`, some for the start_ calls and one for the blocking calls, so that a reduction's
/// messages never meet the others'. MPI's errors come as Error(mpi).
class MpiCommunicator final : public Communicator {
 public:
  /// Collective. Needs MPI at MPI_THREAD_MULTIPLE: throws Error(mpi) at less. Ranks with the same `node`
  /// reduce among themselves first (see NodeHierarchy; all ranks have a node, or none). A longer message is
  /// split into calls of at most `max_count` elements, since MPI counts in int.
  explicit MpiCommunicator(MPI_Comm parent, std::optional<int> node = std::nullopt, int max_count = INT_MAX);
  /// Frees nothing: that would be a collective, and on an error the peers are not there. See close().
  ~MpiCommunicator() override = default;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;
  MpiCommunicator(MpiCommunicator&&) = delete;
  MpiCommunicator& operator=(MpiCommunicator&&) = delete;

  /// Of each blocking call, which includes waiting for the slowest rank. At first there is none.
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }
  /// What give_up() calls first, from any thread: it may end the process. None at first.
  void on_give_up(std::function<void(const std::string&)> handler) { on_give_up_ = std::move(handler); }

  /// Collective. Hands the duplicates back; nothing may be under way. The last call, on the normal path,
  /// before MPI_Finalize.
  void close();

  /// Whether the ranks have nodes.
  [[nodiscard]] bool has_levels() const { return hierarchy_.has_value(); }
  /// Collective. Whether to make use of them from now on, which is so at first; nothing may be under way.
  void reduce_in_levels(bool in_levels) { in_levels_ = in_levels; }

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int world_size() const noexcept override { return world_size_; }
  [[nodiscard]] std::unique_ptr<Pending> start_allreduce(WireBuffer buffer) override;
  [[nodiscard]] std::unique_ptr<Pending> start_allreduce_min(std::span<std::uint64_t> values) override;
  void broadcast(std::span<std::byte> bytes, int root) override;
  [[nodiscard]] std::vector<std::byte> allgather(std::span<const std::byte> bytes) override;
  void gather(std::span<const std::byte> bytes, std::span<std::byte> all, int root) override;
  void allreduce_sum(std::span<double> values) override;
  void barrier() override;
  [[noreturn]] void give_up(const std::string& why) const override;

 private:
  struct Element;
  [[nodiscard]] Element wire_element(WireType type) const;
  [[nodiscard]] std::unique_ptr<Pending> start(std::span<std::byte> bytes, const Element& element);
  [[nodiscard]] std::unique_ptr<Pending> start_in_levels(NodeHierarchy& levels, std::span<std::byte> bytes,
                                                         const Element& element) const;
  /// Waits for a collective of the control communicator, which start(request) starts; `call` is its name.
  template <typename Start>
  void complete(const char* call, const Start& start) const;
  /// gather(own, count, all) for pieces that MPI can count; `all` is empty where nothing arrives.
  template <typename Gather>
  void gather_in_pieces(std::span<const std::byte> bytes, std::span<std::byte> all,
                        const Gather& gather) const;

  MPI_Comm reductions_ = MPI_COMM_NULL;
  MPI_Comm control_ = MPI_COMM_NULL;
  std::optional<NodeHierarchy> hierarchy_;
  /// All ranks as one node: up and down a tree. Of a few bytes only the messages that wait for each other
  /// count, and a tree has 2 ceil(log2 n) of them where a ring has 2 (n - 1).
  std::optional<NodeHierarchy> tree_;
  bool in_levels_ = true;
  MPI_Op sum_bf16_ = MPI_OP_NULL;
  MPI_Op sum_fp16_ = MPI_OP_NULL;
  int rank_ = 0;
  int world_size_ = 1;
  std::size_t max_count_;
  std::optional<std::chrono::milliseconds> timeout_;
  std::function<void(const std::string&)> on_give_up_;
};

}  // namespace slicereduce
