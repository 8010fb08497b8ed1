#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

/// Memory in which ranks meet that are processes of one machine. Made before they are forked, so that all of
/// them have it at the same address.
class SharedMemory {
 public:
  /// For so many ranks, none of which sends more than `most_bytes` at once.
  SharedMemory(int world_size, std::size_t most_bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  SharedMemory(SharedMemory&&) = delete;
  SharedMemory& operator=(SharedMemory&&) = delete;

  [[nodiscard]] int world_size() const { return world_size_; }
  [[nodiscard]] std::size_t most_bytes() const { return most_bytes_; }

  /// What a rank leaves for the others. Counters grow by one with each collective that uses the place, so
  /// they need no reset.
  struct Place;
  [[nodiscard]] Place& place(std::size_t number, int rank) const;
  [[nodiscard]] std::span<std::byte> bytes(std::size_t number, int rank) const;

  /// Collectives that can be under way at once, for each of a communicator's two orders.
  static constexpr std::size_t kPlaces = 4;
  static constexpr std::size_t kOrders = 2;

 private:
  [[nodiscard]] std::byte* start_of(std::size_t number, int rank) const;

  int world_size_;
  std::size_t most_bytes_;
  std::size_t stride_;  ///< from one place to the next, in bytes
  std::size_t size_;
  std::byte* memory_;
};

/// One rank of them. Every rank adds up all contributions by itself, in rank order, so that all get the same
/// bits. Blocking calls throw Error(mpi) where another rank does not come within `timeout`.
class SharedMemoryCommunicator final : public slicereduce::Communicator {
 public:
  /// `memory` outlives it.
  SharedMemoryCommunicator(SharedMemory& memory, int rank, std::chrono::milliseconds timeout);

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int world_size() const noexcept override { return memory_.world_size(); }

  [[nodiscard]] std::unique_ptr<slicereduce::Pending> start_allreduce(
      slicereduce::WireBuffer buffer) override;
  [[nodiscard]] std::unique_ptr<slicereduce::Pending> start_allreduce_min(
      std::span<std::uint64_t> values) override;

  void broadcast(std::span<std::byte> bytes, int root) override;
  [[nodiscard]] std::vector<std::byte> allgather(std::span<const std::byte> bytes) override;
  void gather(std::span<const std::byte> bytes, std::span<std::byte> all, int root) override;
  void allreduce_sum(std::span<double> values) override;
  void barrier() override;

 private:
  class Exchange;
  enum class Order : std::uint8_t { reduction, control };
  [[nodiscard]] std::unique_ptr<Exchange> start(Order order, const char* what,
                                                std::span<const std::byte> bytes);
  [[nodiscard]] std::vector<std::byte> meet(const char* what, std::span<const std::byte> bytes);

  SharedMemory& memory_;
  int rank_;
  std::chrono::milliseconds timeout_;
  std::array<std::uint64_t, SharedMemory::kOrders> started_{};
};
