#pragma once

#include <chrono>
#include <memory>

#include "comm/communicator.hpp"

namespace slicereduce {

/// Whether this build has NCCL.
[[nodiscard]] bool has_nccl() noexcept;
/// "2.28.9", of the library that is loaded; empty in a build without NCCL.
[[nodiscard]] std::string nccl_version();

/// What a rank reduces with NCCL on.
struct NcclConfig {
  c10::Device device;
  /// Of the calls that start something; an AllReduce under way is AllreduceThread's to watch.
  std::chrono::milliseconds timeout{300'000};
};

/// Chooses for this process, unless the user's environment has chosen: rings and the simple protocol, with
/// which the same numbers give the same bits in every run, and which are what slow links between nodes want.
/// Call it before the first communicator.
void prefer_reproducible_nccl();

/// Collective. Ranks that are processes with a card each: start_allreduce() reduces in the memory of
/// `config.device` by NCCL, on a stream of its own, of high priority; all else goes over `control`, which
/// must outlive it, and its halves are `control`'s. Ranks that share a card are told to NCCL as hosts of
/// their own: they exchange over sockets. After a failure on any rank, the communicator is of no use on this
/// one. Throws Error(mpi) with NCCL's own text, and Error(invariant) where this build has no NCCL, or
/// `config.device` is none of CUDA's.
[[nodiscard]] std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control,
                                                                   const NcclConfig& config);

}  // namespace slicereduce
