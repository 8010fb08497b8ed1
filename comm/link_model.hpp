#pragma once

#include <cstdint>
#include <span>

namespace slicereduce {

/// A network in which every rank has a link of its own: the alpha-beta model (Hockney 1994), alpha a
/// message's latency and beta the time of a byte.
struct Link {
  double bytes_per_s = 1.25e9;
  double latency_s = 50e-6;
};

/// An AllReduce of `bytes` as a ring over `ranks`: each sends 2 (n - 1) / n of the bytes, in 2 (n - 1)
/// messages that wait for each other (Patarasuk and Yuan 2009).
[[nodiscard]] double ring_allreduce_s(double bytes, std::int64_t ranks, const Link& link);

/// An AllReduce of `bytes` up and down a binomial tree of `ranks`: 2 ceil(log2 n) messages that wait for each
/// other, all bytes in each.
[[nodiscard]] double tree_allreduce_s(double bytes, std::int64_t ranks, const Link& link);

/// Nodes of several ranks, which share their node's link; see NodeHierarchy.
struct Cluster {
  Link link;
  std::int64_t ranks_per_node = 1;
  double node_bytes_per_s = 5e9;  ///< from one rank to another on its node
};

/// An AllReduce in two levels: on a node a binomial tree to the leader and one back, between leaders a ring.
[[nodiscard]] double allreduce_s(double bytes, std::int64_t ranks, const Cluster& cluster);

/// A bucket of gradients of one step.
struct BucketLoad {
  double bytes = 0;
  /// AllReduces that it takes, one after the other, of equal parts of the bytes: 2 with low-rank factors.
  int messages = 1;
  /// How much of backward is done when its last gradient is ready, in [0, 1], rising.
  double ready = 1;
};

/// Where a step's time goes on a rank without a network.
struct StepCompute {
  double before_s = 0;    ///< plan, gather and forward
  double backward_s = 0;  ///< in which buckets become ready
  double after_s = 0;     ///< what a reducer has left to compute, and the optimizer
};

/// A step whose buckets go out one after the other, each as soon as it is ready: `allreduce_s(bytes)` tells
/// the time of one AllReduce. Updates come after all of them: they could start with the first, but where the
/// link is what a step waits for, buckets share it and come back nearly together. `agreement_s`: of what
/// ranks have to agree on first, from the step's start.
template <typename AllreduceTime>
[[nodiscard]] double step_s(const StepCompute& compute, std::span<const BucketLoad> buckets,
                            const AllreduceTime& allreduce_s, double agreement_s = 0) {
  // Since backward began.
  double wire_free_s = agreement_s > compute.before_s ? agreement_s - compute.before_s : 0;
  for (const BucketLoad& bucket : buckets) {
    const double starts_s = bucket.ready * compute.backward_s;
    wire_free_s = starts_s > wire_free_s ? starts_s : wire_free_s;
    wire_free_s += bucket.messages * allreduce_s(bucket.bytes / bucket.messages);
  }
  const double backward_s = wire_free_s > compute.backward_s ? wire_free_s : compute.backward_s;
  return compute.before_s + backward_s + compute.after_s;
}

}  // namespace slicereduce
