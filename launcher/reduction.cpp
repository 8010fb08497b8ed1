#include "launcher/reduction.hpp"

#include "comm/low_rank_reducer.hpp"
#include "comm/nccl_communicator.hpp"
#include "comm/reducer.hpp"
#include "core/error.hpp"

namespace slicereduce {

BucketCapacity bucket_capacity(double bucket_mb) {
  const auto bytes = static_cast<std::int64_t>(bucket_mb * 1e6);
  return {.bytes = bytes, .first_bytes = (bytes + 3) / 4, .last_bytes = (bytes + 7) / 8};
}

ReducerConfig reducer_config(const NetworkOptions& network, const StepOptions& step) {
  const BucketCapacity buckets = bucket_capacity(step.bucket_mb);
  return {.wire = parse_wire_type(network.wire),
          .bucket_bytes = buckets.bytes,
          .first_bucket_bytes = buckets.first_bytes,
          .last_bucket_bytes = buckets.last_bytes,
          .overlap = step.overlap == "on",
          .timeout = parse_timeout(step.timeout_s)};
}

ReducerConfig reducer_config(const NetworkOptions& network, const StepOptions& step, at::Device device,
                             const Communicator& reductions) {
  ReducerConfig config = reducer_config(network, step);
  config.device = reductions.world_size() == 1 ? device : reductions.device();
  return config;
}

void require_backend(const StepOptions& step, at::Device device) {
  if (step.backend != "nccl") {
    return;
  }
  if (!has_nccl()) {
    throw Error(ErrorKind::usage, "--backend nccl: this build has no NCCL; use --backend mpi or auto");
  }
  if (!device.is_cuda()) {
    throw Error(
        ErrorKind::usage,
        "--backend nccl reduces in the memory of CUDA devices, and this rank computes on the CPU; use "
        "--backend mpi or auto");
  }
}

std::unique_ptr<Communicator> make_device_communicator(Communicator& communicator, const StepOptions& step,
                                                       at::Device device) {
  const bool serves = has_nccl() && device.is_cuda() && communicator.world_size() > 1;
  if (serves && step.backend != "mpi" && step.reduce != "powersgd") {
    prefer_reproducible_nccl();
    return make_nccl_communicator(communicator, {.device = device, .timeout = parse_timeout(step.timeout_s)});
  }
  return nullptr;
}

std::unique_ptr<GradientReducer> make_reducer(Communicator& communicator, const NetworkOptions& network,
                                              const StepOptions& step, at::Device device,
                                              std::uint64_t seed) {
  if (step.reduce == "powersgd") {
    const LowRankConfig low_rank{.rank = step.powersgd_rank, .seed = seed};
    return std::make_unique<LowRankReducer>(communicator.on_host(), reducer_config(network, step), low_rank);
  }
  return std::make_unique<Reducer>(communicator, reducer_config(network, step, device, communicator));
}

}  // namespace slicereduce
