#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <ostream>
#include <thread>
#include <vector>

#include "comm/reducer.hpp"
#include "comm/stream_reducer.hpp"
#include "core/error.hpp"
#include "tests/support/expect_error.hpp"

namespace slicereduce::testing {

/// What a Reducer promises over any Communicator. Each clause is run on all ranks at once.
struct ReducerClause {
  const char* name;
  void (*run)(Communicator&);
};

inline std::ostream& operator<<(std::ostream& out, const ReducerClause& clause) { return out << clause.name; }

inline ReducerConfig small_buckets(const Communicator& communicator, WireType wire, bool overlap = true) {
  return {.wire = wire,
          .bucket_bytes = 64,
          .first_bucket_bytes = 16,
          .overlap = overlap,
          .device = communicator.device()};
}

/// `rank`'s gradient for a slot: multiples of world_size, small enough for every wire type, so that the mean
/// is exact.
inline at::Tensor exact_gradient(std::size_t slot, std::int64_t numel, int rank, int world_size) {
  const auto first = static_cast<std::int64_t>(slot) % 5;
  return (at::arange(first, first + numel, at::kFloat).remainder(7) + rank) * world_size;
}

inline at::Tensor exact_mean(std::size_t slot, std::int64_t numel, int world_size) {
  at::Tensor sum = exact_gradient(slot, numel, 0, world_size);
  for (int rank = 1; rank < world_size; ++rank) {
    sum += exact_gradient(slot, numel, rank, world_size);
  }
  return sum / world_size;
}

inline void expect_exact_means(Reducer& reducer, const std::vector<std::int64_t>& numels, int world_size) {
  for (std::size_t slot = 0; slot < numels.size(); ++slot) {
    EXPECT_TRUE(
        reducer.mean(slot).dense().cpu().to(at::kFloat).equal(exact_mean(slot, numels[slot], world_size)))
        << "slot " << slot << " of " << wire_name(reducer.wire());
  }
}

inline void reduce_exact_gradients(Reducer& reducer, Communicator& communicator,
                                   const std::vector<std::int64_t>& numels, at::ScalarType type) {
  reducer.begin(numels, 42);
  for (std::size_t slot = 0; slot < numels.size(); ++slot) {
    reducer.add(slot, exact_gradient(slot, numels[slot], communicator.rank(), communicator.world_size())
                          .to(communicator.device(), type));
  }
  const ReduceTimes times = reducer.wait().value_or(ReduceTimes{.wire_bytes = -1});
  std::int64_t payload = 0;
  for (const std::int64_t numel : numels) {
    payload += numel * static_cast<std::int64_t>(wire_size(reducer.wire()));
  }
  EXPECT_EQ(times.wire_bytes, payload);
  EXPECT_GE(times.comm_ms, 0);
  EXPECT_GE(times.exposed_ms, 0);
}

inline void averages_exactly_in_every_wire_type(Communicator& communicator) {
  const std::vector<std::int64_t> numels = {3, 1, 0, 17, 4, 100, 2, 2, 31};
  for (const WireType wire : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    for (const bool overlap : {true, false}) {
      Reducer reducer(communicator, small_buckets(communicator, wire, overlap));
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        reduce_exact_gradients(reducer, communicator, numels, type);
        expect_exact_means(reducer, numels, communicator.world_size());
      }
    }
  }
}

inline void the_layout_follows_the_numels(Communicator& communicator) {
  Reducer reducer(communicator, small_buckets(communicator, WireType::fp32));
  const std::vector<std::vector<std::int64_t>> steps = {{5, 5}, {5, 5},     {40, 3, 9}, {1},
                                                        {},     {200, 200}, {5, 5}};
  for (const auto& numels : steps) {
    reduce_exact_gradients(reducer, communicator, numels, at::kFloat);
    expect_exact_means(reducer, numels, communicator.world_size());
  }
}

/// Each mean is there as soon as its slot is.
inline void slots_come_back_in_their_order(Communicator& communicator) {
  const std::vector<std::int64_t> numels = {3, 1, 0, 17, 4, 100, 2, 2, 31, 0};
  for (const bool overlap : {true, false}) {
    Reducer reducer(communicator, small_buckets(communicator, WireType::bf16, overlap));
    reducer.begin(numels, 42);
    for (std::size_t slot = 0; slot < numels.size(); ++slot) {
      reducer.add(slot, exact_gradient(slot, numels[slot], communicator.rank(), communicator.world_size())
                            .to(communicator.device()));
    }
    for (std::size_t done = 0; done < numels.size();) {
      const std::size_t reduced = reducer.wait_for(done);
      ASSERT_GT(reduced, done);
      ASSERT_LE(reduced, numels.size());
      for (; done < reduced; ++done) {
        EXPECT_TRUE(reducer.mean(done)
                        .dense()
                        .cpu()
                        .to(at::kFloat)
                        .equal(exact_mean(done, numels[done], communicator.world_size())))
            << done;
      }
    }
    EXPECT_EQ(reducer.wait_for(0), numels.size());
    EXPECT_TRUE(reducer.wait().has_value());
  }
}

inline std::vector<std::byte> reduced_bits(Communicator& communicator, WireType wire, bool overlap) {
  const std::vector<std::int64_t> numels = {7, 50, 3, 21};
  Reducer reducer(communicator, small_buckets(communicator, wire, overlap));
  reducer.begin(numels, 1);
  std::vector<std::byte> bits;
  for (std::size_t slot = 0; slot < numels.size(); ++slot) {
    const auto first = static_cast<std::int64_t>(slot) * 100 + communicator.rank() * 13 + 1;
    reducer.add(slot, (1 / at::arange(first, first + numels[slot], at::kFloat)).to(communicator.device()));
  }
  EXPECT_TRUE(reducer.wait().has_value());
  for (std::size_t slot = 0; slot < numels.size(); ++slot) {
    const at::Tensor reduced = reducer.mean(slot).dense().cpu();
    const auto* first = static_cast<const std::byte*>(reduced.const_data_ptr());
    bits.insert(bits.end(), first, first + reduced.nbytes());
  }
  return bits;
}

/// Sums that are rounded: the same bits whenever they are sent, and on all ranks.
inline void overlap_changes_no_bit(Communicator& communicator) {
  for (const WireType wire : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    const auto overlapped = reduced_bits(communicator, wire, true);
    EXPECT_EQ(overlapped, reduced_bits(communicator, wire, false)) << wire_name(wire);
    const auto all = communicator.allgather(overlapped);
    for (std::size_t offset = 0; offset < all.size(); offset += overlapped.size()) {
      EXPECT_EQ(std::memcmp(all.data() + offset, overlapped.data(), overlapped.size()), 0) << wire_name(wire);
    }
  }
}

inline void large_gradients_do_not_overflow(Communicator& communicator) {
  Reducer reducer(communicator, small_buckets(communicator, WireType::fp16));
  reducer.begin(std::vector<std::int64_t>{3}, 1);
  reducer.add(0, at::full({3}, 32768.0F));
  ASSERT_TRUE(reducer.wait().has_value());
  // 1 / world_size is rounded, and then every partial sum: half a unit in the last place of fp16 each.
  const double tolerance = 32768.0 * communicator.world_size() * 0x1p-11;
  EXPECT_NEAR(reducer.mean(0).dense()[1].item<double>(), 32768.0, tolerance);
}

inline void gradients_may_come_from_several_threads(Communicator& communicator) {
  const std::vector<std::int64_t> numels(64, 5);
  Reducer reducer(communicator, small_buckets(communicator, WireType::bf16));
  reducer.begin(numels, 1);
  {
    std::vector<std::jthread> threads;
    for (std::size_t part = 0; part < 4; ++part) {
      threads.emplace_back([&, part] {
        for (std::size_t slot = part; slot < numels.size(); slot += 4) {
          reducer.add(slot, exact_gradient(slot, 5, communicator.rank(), communicator.world_size()));
        }
      });
    }
  }
  ASSERT_TRUE(reducer.wait().has_value());
  expect_exact_means(reducer, numels, communicator.world_size());
}

inline void a_disagreement_reaches_all_ranks_and_passes(Communicator& communicator) {
  const std::vector<std::int64_t> numels = {9, 30};
  Reducer reducer(communicator, small_buckets(communicator, WireType::fp32));
  const bool is_last = communicator.rank() == communicator.world_size() - 1;
  reducer.begin(numels, is_last ? 8 : 7);
  for (std::size_t slot = 0; slot < numels.size(); ++slot) {
    reducer.add(slot, exact_gradient(slot, numels[slot], communicator.rank(), communicator.world_size()));
  }
  EXPECT_EQ(reducer.wait_for(0) > 0, communicator.world_size() == 1);
  EXPECT_EQ(reducer.wait().has_value(), communicator.world_size() == 1);
  reduce_exact_gradients(reducer, communicator, numels, at::kFloat);
  expect_exact_means(reducer, numels, communicator.world_size());
}

/// What a StreamReducer promises over the same Communicators.
inline void in_the_order_of_streams_the_bits_are_the_same(Communicator& communicator) {
  const std::vector<std::int64_t> numels = {3, 1, 0, 17, 4, 100, 2, 2, 31};
  const auto generator = at::detail::createCPUGenerator(communicator.rank());
  for (const WireType wire : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    for (const bool overlap : {true, false}) {
      const ReducerConfig config = small_buckets(communicator, wire, overlap);
      StreamReducer in_order(communicator, config, numels);
      for (int run = 0; run < 3; ++run) {
        std::vector<at::Tensor> gradients;
        for (const std::int64_t numel : numels) {
          gradients.push_back(at::randn({numel}, generator).to(communicator.device()));
        }
        in_order.begin();
        for (std::size_t slot = 0; slot < numels.size(); ++slot) {
          in_order.add(slot, gradients[slot]);
        }
        std::size_t arrived = 0;
        for (std::size_t bucket = 0; bucket < in_order.buckets(); ++bucket) {
          EXPECT_GT(in_order.wait_for(bucket), arrived);
          arrived = in_order.wait_for(bucket);
        }
        EXPECT_EQ(arrived, numels.size());
        std::vector<at::Tensor> means;
        for (std::size_t slot = 0; slot < numels.size(); ++slot) {
          means.push_back(in_order.mean(slot).cpu());
        }
        EXPECT_GE(in_order.times().exposed_ms, 0);
        EXPECT_GE(in_order.times().comm_ms, 0);
        communicator.barrier();  // its start_ calls are another's from here on

        Reducer reducer(communicator, config);
        reducer.begin(numels, 7);
        for (std::size_t slot = 0; slot < numels.size(); ++slot) {
          reducer.add(slot, gradients[slot]);
        }
        EXPECT_EQ(reducer.wait().value_or(ReduceTimes{}).wire_bytes, in_order.wire_bytes());
        for (std::size_t slot = 0; slot < numels.size(); ++slot) {
          EXPECT_TRUE(at::equal(means[slot], reducer.mean(slot).dense().cpu())) << "slot " << slot;
        }
      }
    }
  }
}

inline void in_the_order_of_streams_every_slot_is_needed(Communicator& communicator) {
  const std::vector<std::int64_t> numels = {3, 4};
  StreamReducer reducer(communicator, small_buckets(communicator, WireType::fp32), numels);
  reducer.begin();
  const at::Tensor gradient = at::ones({3}).to(communicator.device());
  reducer.add(0, gradient);
  EXPECT_THROW(reducer.add(0, gradient), Error);
  EXPECT_THROW(reducer.add(2, gradient), Error);
  expect_error_from([&] { reducer.wait_for(0); }, ErrorKind::invariant, "slot 1 of 2");
}

inline constexpr std::array kReducerContract = {
    ReducerClause{"AveragesExactlyInEveryWireType", averages_exactly_in_every_wire_type},
    ReducerClause{"TheLayoutFollowsTheNumels", the_layout_follows_the_numels},
    ReducerClause{"SlotsComeBackInTheirOrder", slots_come_back_in_their_order},
    ReducerClause{"OverlapChangesNoBit", overlap_changes_no_bit},
    ReducerClause{"LargeGradientsDoNotOverflow", large_gradients_do_not_overflow},
    ReducerClause{"GradientsMayComeFromSeveralThreads", gradients_may_come_from_several_threads},
    ReducerClause{"ADisagreementReachesAllRanksAndPasses", a_disagreement_reaches_all_ranks_and_passes},
    ReducerClause{"InTheOrderOfStreamsTheBitsAreTheSame", in_the_order_of_streams_the_bits_are_the_same},
    ReducerClause{"InTheOrderOfStreamsEverySlotIsNeeded", in_the_order_of_streams_every_slot_is_needed},
};

}  // namespace slicereduce::testing
