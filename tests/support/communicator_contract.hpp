#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.hpp"
#include "core/device.hpp"

namespace slicereduce::testing {

/// What every Communicator promises. Each clause is run on all ranks at once; none lets a single rank
/// leave before the others.
struct ContractClause {
  const char* name;
  void (*run)(Communicator&);
};

inline std::ostream& operator<<(std::ostream& out, const ContractClause& clause) {
  return out << clause.name;
}

inline void finish(Pending& pending) {
  while (!pending.test()) {
    std::this_thread::yield();
  }
}

/// Small integers by rank and index: their sums are exact in any order and in every wire type.
inline std::vector<float> integers(std::size_t numel, int rank) {
  std::vector<float> values(numel);
  for (std::size_t i = 0; i < numel; ++i) {
    values[i] = static_cast<float>(static_cast<int>(i % 7) - 3 + rank);
  }
  return values;
}

inline std::vector<float> summed_integers(std::size_t numel, int world_size) {
  std::vector<float> sum(numel, 0);
  for (int rank = 0; rank < world_size; ++rank) {
    const auto values = integers(numel, rank);
    std::ranges::transform(sum, values, sum.begin(), std::plus<>());
  }
  return sum;
}

/// Numbers as they travel, in the memory of a device.
class EncodedNumbers {
 public:
  EncodedNumbers(const std::vector<float>& values, WireType wire, at::Device device = at::kCPU)
      : EncodedNumbers(values, wire,
                       at::empty({static_cast<std::int64_t>(values.size() * wire_size(wire))},
                                 at::TensorOptions(device).dtype(at::kByte))) {}
  /// In `memory`, which has room for so many.
  EncodedNumbers(const std::vector<float>& values, WireType wire, const at::Tensor& memory)
      : memory_(memory.view(at::kByte)), type_(wire) {
    std::vector<std::byte> encoded(values.size() * wire_size(wire));
    encode(values, 1, encoded, wire);
    memory_.copy_(at::from_blob(encoded.data(), {static_cast<std::int64_t>(encoded.size())}, at::kByte));
    ready_ = mark(memory_.device());
  }
  EncodedNumbers(const EncodedNumbers& other)
      : memory_(other.memory_.clone()), type_(other.type_), ready_(mark(memory_.device())) {}
  EncodedNumbers(EncodedNumbers&&) noexcept = default;
  EncodedNumbers& operator=(const EncodedNumbers&) = delete;
  EncodedNumbers& operator=(EncodedNumbers&&) noexcept = default;
  ~EncodedNumbers() = default;

  [[nodiscard]] WireBuffer buffer() {
    auto* first = static_cast<std::byte*>(memory_.mutable_data_ptr());
    return {.bytes = {first, static_cast<std::size_t>(memory_.numel())}, .type = type_, .ready = ready_};
  }
  [[nodiscard]] std::vector<std::byte> bytes() const {
    const at::Tensor here = memory_.cpu();
    const auto* first = static_cast<const std::byte*>(here.const_data_ptr());
    return {first, first + here.numel()};
  }
  [[nodiscard]] std::vector<float> values() const {
    std::vector<float> decoded(bytes().size() / wire_size(type_));
    decode(bytes(), type_, decoded);
    return decoded;
  }

 private:
  at::Tensor memory_;
  WireType type_;
  std::shared_ptr<const c10::Event> ready_;
};

/// 0, fewer numbers than ranks, sizes that no number of ranks divides, and one that is sent in pieces.
inline constexpr std::array<std::size_t, 6> kContractSizes = {0, 1, 2, 3, 1001, 300'007};
inline constexpr std::array kWireTypes = {WireType::fp32, WireType::bf16, WireType::fp16};

inline void allreduce_sums_integers_exactly(Communicator& communicator) {
  for (const WireType type : kWireTypes) {
    for (const std::size_t numel : kContractSizes) {
      EncodedNumbers numbers(integers(numel, communicator.rank()), type, communicator.device());
      finish(*communicator.start_allreduce(numbers.buffer()));
      EXPECT_EQ(numbers.values(), summed_integers(numel, communicator.world_size()))
          << numel << " numbers of " << wire_name(type);
    }
  }
}

/// Also one that takes the place of another, and one that outlives what was sent from it.
inline void its_own_buffers_serve_as_any_other(Communicator& communicator) {
  for (const WireType type : kWireTypes) {
    for (const std::int64_t numel : {1001, 300'007, 5}) {
      const at::Tensor memory = communicator.make_buffer(numel, type);
      EXPECT_EQ(memory.device(), communicator.device());
      EXPECT_EQ(memory.nbytes(), static_cast<std::size_t>(numel) * wire_size(type));
      const auto own = integers(static_cast<std::size_t>(numel), communicator.rank());
      for (int again = 0; again < 2; ++again) {
        EncodedNumbers numbers(own, type, memory);
        finish(*communicator.start_allreduce(numbers.buffer()));
        EXPECT_EQ(numbers.values(), summed_integers(own.size(), communicator.world_size()))
            << numel << " numbers of " << wire_name(type);
      }
    }
  }
}

inline void many_allreduces_are_under_way_at_once(Communicator& communicator) {
  constexpr std::size_t kAtOnce = 12;
  std::vector<EncodedNumbers> numbers;
  numbers.reserve(kAtOnce);
  for (std::size_t i = 0; i < kAtOnce; ++i) {
    numbers.emplace_back(integers(100 * i + 1, communicator.rank()), kWireTypes.at(i % kWireTypes.size()),
                         communicator.device());
  }
  std::vector<std::unique_ptr<Pending>> pending;
  pending.reserve(numbers.size());
  for (auto& one : numbers) {
    pending.push_back(communicator.start_allreduce(one.buffer()));
  }
  std::ranges::for_each(pending, [](auto& one) { finish(*one); });
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_EQ(numbers[i].values(), summed_integers(100 * i + 1, communicator.world_size()))
        << "allreduce " << i;
  }
}

inline void a_finished_allreduce_stays_finished(Communicator& communicator) {
  EncodedNumbers numbers(integers(3, communicator.rank()), WireType::fp32, communicator.device());
  const auto pending = communicator.start_allreduce(numbers.buffer());
  finish(*pending);
  EXPECT_TRUE(pending->test());
  EXPECT_EQ(numbers.values(), summed_integers(3, communicator.world_size()));
}

/// Sums that round differently in every order: still the same bits on all ranks.
inline void rounded_sums_are_bit_equal_on_all_ranks(Communicator& communicator) {
  for (const WireType type : kWireTypes) {
    std::vector<float> values(1003);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = 1.0F / static_cast<float>(i * 31 + static_cast<std::size_t>(communicator.rank()) * 17 + 3);
    }
    EncodedNumbers numbers(values, type, communicator.device());
    finish(*communicator.start_allreduce(numbers.buffer()));
    const auto own = numbers.bytes();
    const auto all = communicator.allgather(own);
    for (std::size_t offset = 0; offset < all.size(); offset += own.size()) {
      EXPECT_TRUE(std::ranges::equal(own, std::span(all).subspan(offset, own.size())))
          << wire_name(type) << ", rank " << offset / own.size();
    }
  }
}

inline void allreduce_min_finds_the_smallest(Communicator& communicator) {
  const auto rank = static_cast<std::uint64_t>(communicator.rank());
  constexpr auto kLargest = std::numeric_limits<std::uint64_t>::max();
  std::array<std::uint64_t, 3> values = {rank + 5, kLargest - rank, kLargest};
  finish(*communicator.start_allreduce_min(values));
  EXPECT_EQ(values[0], 5U);
  EXPECT_EQ(values[1], kLargest - static_cast<std::uint64_t>(communicator.world_size() - 1));
  EXPECT_EQ(values[2], kLargest);
}

inline void broadcast_gives_every_roots_bytes(Communicator& communicator) {
  for (int root = 0; root < communicator.world_size(); ++root) {
    std::vector<std::byte> bytes(11, static_cast<std::byte>(communicator.rank() + 1));
    communicator.broadcast(bytes, root);
    EXPECT_EQ(bytes, std::vector<std::byte>(11, static_cast<std::byte>(root + 1)));
  }
}

inline void allgather_keeps_rank_order(Communicator& communicator) {
  const std::vector<std::byte> own(7, static_cast<std::byte>(communicator.rank()));
  std::vector<std::byte> expected;
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    expected.insert(expected.end(), 7, static_cast<std::byte>(rank));
  }
  EXPECT_EQ(communicator.allgather(own), expected);
  EXPECT_TRUE(communicator.allgather({}).empty());
}

inline void gather_keeps_rank_order_on_every_root(Communicator& communicator) {
  const std::vector<std::byte> own(7, static_cast<std::byte>(communicator.rank()));
  const auto all = communicator.allgather(own);
  for (int root = 0; root < communicator.world_size(); ++root) {
    const bool leads = communicator.rank() == root;
    std::vector<std::byte> gathered(leads ? all.size() : 0);
    communicator.gather(own, gathered, root);
    EXPECT_EQ(gathered, leads ? all : std::vector<std::byte>());
  }
}

inline void texts_of_any_length_are_gathered(Communicator& communicator) {
  const auto text_of = [](int rank) { return std::string(static_cast<std::size_t>(rank * 5), 'x'); };
  std::vector<std::string> expected;
  expected.reserve(static_cast<std::size_t>(communicator.world_size()));
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    expected.push_back(text_of(rank));
  }
  EXPECT_EQ(allgather_texts(communicator, text_of(communicator.rank())), expected);
  const int root = communicator.world_size() - 1;
  EXPECT_EQ(gather_texts(communicator, text_of(communicator.rank()), root),
            communicator.rank() == root ? expected : std::vector<std::string>());
}

inline void allreduce_sum_sums_doubles(Communicator& communicator) {
  std::vector<double> values = {1, static_cast<double>(communicator.rank()), 0x1p60, 4, 5, 6, 7};
  communicator.allreduce_sum(values);
  const double ranks = communicator.world_size();
  EXPECT_EQ(values, (std::vector<double>{ranks, ranks * (ranks - 1) / 2, ranks * 0x1p60, ranks * 4, ranks * 5,
                                         ranks * 6, ranks * 7}));
  communicator.allreduce_sum({});
}

/// A blocking call while a reduction is under way, from another thread: the two must not mix.
inline void the_blocking_calls_run_beside_a_reduction(Communicator& communicator) {
  EncodedNumbers numbers(integers(300'007, communicator.rank()), WireType::bf16, communicator.device());
  std::jthread reduction([&] { finish(*communicator.start_allreduce(numbers.buffer())); });
  for (int i = 0; i < 20; ++i) {
    allgather_keeps_rank_order(communicator);
    communicator.barrier();
  }
  reduction.join();
  EXPECT_EQ(numbers.values(), summed_integers(300'007, communicator.world_size()));
}

inline constexpr std::array kCommunicatorContract = {
    ContractClause{"AllreduceSumsIntegersExactly", allreduce_sums_integers_exactly},
    ContractClause{"ItsOwnBuffersServeAsAnyOther", its_own_buffers_serve_as_any_other},
    ContractClause{"ManyAllreducesAreUnderWayAtOnce", many_allreduces_are_under_way_at_once},
    ContractClause{"AFinishedAllreduceStaysFinished", a_finished_allreduce_stays_finished},
    ContractClause{"RoundedSumsAreBitEqualOnAllRanks", rounded_sums_are_bit_equal_on_all_ranks},
    ContractClause{"AllreduceMinFindsTheSmallest", allreduce_min_finds_the_smallest},
    ContractClause{"BroadcastGivesEveryRootsBytes", broadcast_gives_every_roots_bytes},
    ContractClause{"AllgatherKeepsRankOrder", allgather_keeps_rank_order},
    ContractClause{"GatherKeepsRankOrderOnEveryRoot", gather_keeps_rank_order_on_every_root},
    ContractClause{"TextsOfAnyLengthAreGathered", texts_of_any_length_are_gathered},
    ContractClause{"AllreduceSumSumsDoubles", allreduce_sum_sums_doubles},
    ContractClause{"TheBlockingCallsRunBesideAReduction", the_blocking_calls_run_beside_a_reduction},
};

}  // namespace slicereduce::testing
