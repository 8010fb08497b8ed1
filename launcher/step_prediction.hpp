#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/bucket_layout.hpp"
#include "comm/link_model.hpp"
#include "models/cost.hpp"

namespace slicereduce {

/// The compute of a step, from the times of its parts (kStepParts). The wait for AllReduces is not in it.
[[nodiscard]] StepCompute step_compute(const std::function<double(const std::string&)>& part_ms);

/// The compute of a step, from the last JSON line of a file that `bench step --json` or the DDP peer has
/// written: `forward_ms`, `backward_ms`, `optimizer_ms`, and where there are `plan_ms` and `gather_ms`.
/// Throws Error(input) naming the file and what it lacks.
[[nodiscard]] StepCompute read_step_compute(const std::filesystem::path& path);

/// How gradients go out, for a prediction.
struct Sending {
  WireType wire = WireType::fp32;
  BucketCapacity capacity;
  bool dense = false;  ///< all of every layer, whatever a plan leaves
  std::int64_t microbatches = 1;
  bool overlaps = true;  ///< else all goes out after backward
  bool agrees = true;    ///< on the step's plan, by a ring of all ranks, before anything goes out
};

/// The buckets of a step: layers from last to first, ready as backward has done their share of the
/// arithmetic.
[[nodiscard]] std::vector<BucketLoad> bucket_loads(std::span<const LayerCost> layers, const Sending& sending);

/// What a step takes where AllReduce is as allreduce_s() says.
[[nodiscard]] double predict_step_ms(std::span<const LayerCost> layers, const Sending& sending,
                                     const StepCompute& compute, const Cluster& cluster, std::int64_t ranks);

/// Bucket sizes to choose from, in MB: --bucket-mb.
inline constexpr std::array kBucketSizes{0.25, 1.0, 4.0, 16.0, 64.0};

struct BestBucket {
  double mb = 0;
  double step_ms = 0;
};

/// Of kBucketSizes the one with which a step is predicted to be fastest, whatever `sending` says of buckets.
[[nodiscard]] BestBucket best_bucket(std::span<const LayerCost> layers, Sending sending,
                                     const StepCompute& compute, const Cluster& cluster, std::int64_t ranks);

struct StepPrediction {
  std::int64_t world_size = 1;
  double ours_ms = 0;
  double bucket_mb = 0;
  double ddp_ms = 0;  ///< DistributedDataParallel with its bf16 hook
};

/// What a step takes with each number of workers, in buckets of `bucket_mb`, or of the best size where that
/// is 0. DDP has its best size too, and one ring of all workers, as slow as its slowest hop.
[[nodiscard]] std::vector<StepPrediction> predict_steps(std::span<const LayerCost> layers,
                                                        const Sending& sending, const StepCompute& ours,
                                                        const StepCompute& dense, const Cluster& cluster,
                                                        std::span<const std::int64_t> world_sizes,
                                                        double bucket_mb = 0);

/// On which links a step is faster than DDP's with its bf16 hook.
struct BreakEven {
  enum class Kind { below, always, never };
  Kind kind = Kind::never;
  double gbit = 0;  ///< Gbit/s of a node's link; with `below`
};

/// From 1 Mbit/s to 10 Tbit/s, to 1 %. What is saved counts for less the faster the link: there is one such
/// bandwidth, if any. `cluster` tells the rest.
[[nodiscard]] BreakEven break_even(std::span<const LayerCost> layers, const Sending& sending,
                                   const StepCompute& ours, const StepCompute& dense, Cluster cluster,
                                   std::int64_t world_size, double bucket_mb = 0);

}  // namespace slicereduce
