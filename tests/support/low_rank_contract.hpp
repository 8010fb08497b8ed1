#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <ostream>
#include <vector>

#include "comm/low_rank_reducer.hpp"

namespace slicereduce::testing {

/// What a LowRankReducer promises over any Communicator. Each clause is run on all ranks at once.
struct LowRankClause {
  const char* name;
  void (*run)(Communicator&);
};

inline std::ostream& operator<<(std::ostream& out, const LowRankClause& clause) { return out << clause.name; }

/// Vectors, matrices that factors make smaller and one that they don't, in three buckets or so.
inline std::vector<SlotShape> mixed_slots() {
  return {{.columns = 9},
          {.rows = 12, .columns = 40},
          {.rows = 2, .columns = 3},
          {.rows = 30, .columns = 18},
          {.columns = 1},
          {.columns = 0},
          {.rows = 25, .columns = 50},
          {.rows = 64, .columns = 16}};
}

inline ReducerConfig few_buckets(WireType wire, bool overlap = true) {
  return {.wire = wire, .bucket_bytes = 4000, .first_bucket_bytes = 800, .overlap = overlap};
}

inline at::Tensor gradient_of(const SlotShape& shape, std::size_t slot, int rank, std::uint64_t step) {
  at::Generator generator =
      at::detail::createCPUGenerator(1000 * step + 50 * slot + static_cast<unsigned>(rank));
  return at::randn({shape.rows, shape.columns}, generator);
}

inline at::Tensor mean_of_ranks(const SlotShape& shape, std::size_t slot, int world_size,
                                std::uint64_t step) {
  at::Tensor sum = at::zeros({shape.rows, shape.columns}, at::kDouble);
  for (int rank = 0; rank < world_size; ++rank) {
    sum += gradient_of(shape, slot, rank, step).to(at::kDouble);
  }
  return sum / world_size;
}

/// A round of the gradients above; gives what each slot's gradient has become after subtract_sent().
inline std::vector<at::Tensor> reduce_round(LowRankReducer& reducer, const std::vector<SlotShape>& slots,
                                            int rank, std::uint64_t step) {
  std::vector<at::Tensor> gradients;
  reducer.begin(slots, 42, false);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    gradients.push_back(gradient_of(slots[slot], slot, rank, step));
    reducer.add(slot, gradients.back());
  }
  EXPECT_TRUE(reducer.wait().has_value());
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    reducer.subtract_sent(slot, gradients[slot]);
  }
  return gradients;
}

inline double relative_error(const at::Tensor& value, const at::Tensor& expected) {
  const double norm = expected.norm().item<double>();
  return norm == 0 ? value.abs().sum().item<double>()
                   : (value.to(at::kDouble).view(expected.sizes()) - expected).norm().item<double>() / norm;
}

/// PowerSGD as the paper writes it (algorithm 1), in float64, with all ranks' gradients at hand.
struct SlowPowerSgd {
  at::Tensor q;  // [m, r]

  at::Tensor mean(const SlotShape& shape, std::size_t slot, int world_size, std::uint64_t step) {
    // The span of M Q does not change with the basis of Q's.
    const at::Tensor m = mean_of_ranks(shape, slot, world_size, step);
    const at::Tensor p = std::get<0>(at::linalg_qr(m.mm(q)));
    q = m.t().mm(p);
    return p.mm(q.t());
  }
};

inline void follows_the_paper(Communicator& communicator) {
  for (const std::int64_t rank : {1, 2, 4}) {
    LowRankReducer reducer(communicator, few_buckets(WireType::fp32), {.rank = rank, .seed = 7});
    const auto slots = mixed_slots();
    std::vector<SlowPowerSgd> slow(slots.size());
    for (std::uint64_t step = 0; step < 3; ++step) {
      const LowRankConfig config{.rank = rank};
      if (step == 1) {
        for (std::size_t slot = 0; slot < slots.size(); ++slot) {
          if (config.rank_of(slots[slot].rows, slots[slot].columns) > 0) {
            slow[slot].q = reducer.remembered()[slot].t().to(at::kDouble).clone();
          }
        }
      }
      (void)reduce_round(reducer, slots, communicator.rank(), step);
      for (std::size_t slot = 0; step > 0 && slot < slots.size(); ++slot) {
        const at::Tensor expected = slow[slot].q.defined()
                                        ? slow[slot].mean(slots[slot], slot, communicator.world_size(), step)
                                        : mean_of_ranks(slots[slot], slot, communicator.world_size(), step);
        EXPECT_LT(relative_error(reducer.mean(slot).dense(), expected), 1e-4)
            << "rank " << rank << " slot " << slot;
      }
    }
  }
}

inline void full_rank_is_the_mean(Communicator& communicator) {
  LowRankReducer reducer(communicator, few_buckets(WireType::fp32), {.rank = 1000, .least_compression = 0});
  const auto slots = mixed_slots();
  (void)reduce_round(reducer, slots, communicator.rank(), 0);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    EXPECT_LT(relative_error(reducer.mean(slot).dense(),
                             mean_of_ranks(slots[slot], slot, communicator.world_size(), 0)),
              1e-5)
        << slot;
  }
}

/// On average over ranks: what was sent and what each lacks are the gradients.
inline void what_is_not_sent_is_left(Communicator& communicator) {
  for (const WireType wire : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    LowRankReducer reducer(communicator, few_buckets(wire), {.rank = 2});
    const auto slots = mixed_slots();
    const auto left = reduce_round(reducer, slots, communicator.rank(), 1);
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      const at::Tensor all = left[slot].to(at::kDouble).contiguous();
      communicator.allreduce_sum({all.mutable_data_ptr<double>(), static_cast<std::size_t>(all.numel())});
      const at::Tensor total = all / communicator.world_size() + reducer.mean(slot).dense().view(all.sizes());
      // A 2-byte wire rounds what more than two ranks add up, which no rank can know.
      EXPECT_LT(relative_error(total, mean_of_ranks(slots[slot], slot, communicator.world_size(), 1)),
                wire == WireType::fp32 || communicator.world_size() == 1 ? 1e-5 : 1e-2)
          << wire_name(wire) << " slot " << slot;
    }
  }
}

inline void a_constant_low_rank_gradient_is_found(Communicator& communicator) {
  const std::vector<SlotShape> slots{{.rows = 40, .columns = 60}};
  at::Generator generator = at::detail::createCPUGenerator(5);
  const at::Tensor gradient = at::randn({40, 2}, generator).mm(at::randn({2, 60}, generator));
  LowRankReducer reducer(communicator, few_buckets(WireType::fp32), {.rank = 2});
  reducer.begin(slots, 1, false);
  reducer.add(0, gradient);
  ASSERT_TRUE(reducer.wait().has_value());
  EXPECT_LT(relative_error(reducer.mean(0).dense(), gradient.to(at::kDouble)), 1e-5);
}

inline std::vector<std::byte> low_rank_bits(Communicator& communicator, WireType wire, bool overlap) {
  LowRankReducer reducer(communicator, few_buckets(wire, overlap), {.rank = 2});
  const auto slots = mixed_slots();
  std::vector<std::byte> bits;
  for (std::uint64_t step = 0; step < 2; ++step) {
    (void)reduce_round(reducer, slots, communicator.rank(), step);
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      const at::Tensor mean = reducer.mean(slot).dense().contiguous();
      const auto* first = static_cast<const std::byte*>(mean.const_data_ptr());
      bits.insert(bits.end(), first, first + mean.nbytes());
    }
  }
  return bits;
}

/// Each mean is there as soon as its slot is, and no bit changes for it.
inline void factors_come_back_in_the_order_of_slots(Communicator& communicator) {
  const auto slots = mixed_slots();
  for (const bool overlap : {true, false}) {
    LowRankReducer at_once(communicator, few_buckets(WireType::bf16, overlap), {.rank = 2});
    LowRankReducer one_by_one(communicator, few_buckets(WireType::bf16, overlap), {.rank = 2});
    for (std::uint64_t step = 0; step < 2; ++step) {
      (void)reduce_round(at_once, slots, communicator.rank(), step);
      one_by_one.begin(slots, 42, false);
      std::vector<at::Tensor> gradients;
      for (std::size_t slot = 0; slot < slots.size(); ++slot) {
        gradients.push_back(gradient_of(slots[slot], slot, communicator.rank(), step));
        one_by_one.add(slot, gradients.back());
      }
      for (std::size_t done = 0; done < slots.size();) {
        const std::size_t reduced = one_by_one.wait_for(done);
        ASSERT_GT(reduced, done);
        ASSERT_LE(reduced, slots.size());
        for (; done < reduced; ++done) {
          EXPECT_TRUE(one_by_one.mean(done).dense().equal(at_once.mean(done).dense())) << done;
        }
      }
      EXPECT_TRUE(one_by_one.wait().has_value());
    }
  }
}

inline void the_bits_are_the_same_on_all_ranks_and_without_overlap(Communicator& communicator) {
  for (const WireType wire : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    const auto overlapped = low_rank_bits(communicator, wire, true);
    EXPECT_EQ(overlapped, low_rank_bits(communicator, wire, false)) << wire_name(wire);
    const auto all = communicator.allgather(overlapped);
    for (std::size_t offset = 0; offset < all.size(); offset += overlapped.size()) {
      EXPECT_EQ(std::memcmp(all.data() + offset, overlapped.data(), overlapped.size()), 0) << wire_name(wire);
    }
  }
}

inline void the_payload_is_as_promised(Communicator& communicator) {
  const LowRankConfig config{.rank = 2};
  LowRankReducer reducer(communicator, few_buckets(WireType::bf16), config);
  const auto slots = mixed_slots();
  std::int64_t numel = 0;
  reducer.begin(slots, 1, false);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    numel += config.numel_of(slots[slot].rows, slots[slot].columns);
    reducer.add(slot, gradient_of(slots[slot], slot, communicator.rank(), 0));
  }
  const auto times = reducer.wait();
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->wire_bytes, 2 * numel);
}

inline void a_low_rank_disagreement_passes(Communicator& communicator) {
  LowRankReducer reducer(communicator, few_buckets(WireType::fp32), {.rank = 2});
  const auto slots = mixed_slots();
  const bool is_last = communicator.rank() == communicator.world_size() - 1;
  reducer.begin(slots, is_last ? 8 : 7, false);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    reducer.add(slot, gradient_of(slots[slot], slot, communicator.rank(), 0));
  }
  EXPECT_EQ(reducer.wait_for(0) > 0, communicator.world_size() == 1);
  EXPECT_EQ(reducer.wait().has_value(), communicator.world_size() == 1);
  LowRankReducer fresh(communicator, few_buckets(WireType::fp32), {.rank = 2});
  (void)reduce_round(fresh, slots, communicator.rank(), 3);
  if (communicator.world_size() > 1) {
    (void)reduce_round(reducer, slots, communicator.rank(), 3);
    EXPECT_TRUE(reducer.mean(3).dense().equal(fresh.mean(3).dense())) << "as if the dispute had never been";
  }
}

inline constexpr std::array kLowRankContract = {
    LowRankClause{"FollowsThePaper", follows_the_paper},
    LowRankClause{"FullRankIsTheMean", full_rank_is_the_mean},
    LowRankClause{"WhatIsNotSentIsLeft", what_is_not_sent_is_left},
    LowRankClause{"AConstantLowRankGradientIsFound", a_constant_low_rank_gradient_is_found},
    LowRankClause{"FactorsComeBackInTheOrderOfSlots", factors_come_back_in_the_order_of_slots},
    LowRankClause{"TheBitsAreTheSameOnAllRanksAndWithoutOverlap",
                  the_bits_are_the_same_on_all_ranks_and_without_overlap},
    LowRankClause{"ThePayloadIsAsPromised", the_payload_is_as_promised},
    LowRankClause{"ADisagreementPasses", a_low_rank_disagreement_passes},
};

}  // namespace slicereduce::testing
