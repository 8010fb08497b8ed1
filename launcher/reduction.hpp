#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "comm/bucket_layout.hpp"
#include "comm/communicator.hpp"
#include "comm/gradient_reducer.hpp"
#include "launcher/train_options.hpp"

namespace slicereduce {

/// Buckets of --bucket-mb: the first and the last are smaller.
[[nodiscard]] BucketCapacity bucket_capacity(double bucket_mb);
/// What the options mean to a reducer.
[[nodiscard]] ReducerConfig reducer_config(const NetworkOptions& network, const StepOptions& step);
/// The same for one whose buckets lie where `reductions` reduces, or, for a single rank, on `device`.
[[nodiscard]] ReducerConfig reducer_config(const NetworkOptions& network, const StepOptions& step,
                                           at::Device device, const Communicator& reductions);
/// Throws Error(usage) where --backend asks for what this build, or a rank that computes on `device`, hasn't.
void require_backend(const StepOptions& step, at::Device device);
/// Collective. What ranks reduce with that compute on `device`, over `communicator`, which outlives it;
/// nothing where that is `communicator` itself. require_backend() comes first.
[[nodiscard]] std::unique_ptr<Communicator> make_device_communicator(Communicator& communicator,
                                                                     const StepOptions& step,
                                                                     at::Device device);
/// Of gradients that are computed on `device`.
[[nodiscard]] std::unique_ptr<GradientReducer> make_reducer(Communicator& communicator,
                                                            const NetworkOptions& network,
                                                            const StepOptions& step, at::Device device,
                                                            std::uint64_t seed);

}  // namespace slicereduce
