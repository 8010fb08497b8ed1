#pragma once

#include <ATen/core/Tensor.h>
#include <nccl.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/nccl_communicator.hpp"

namespace slicereduce {

/// One of NCCL's communicators, which does not block, and the memory that it knows. Calls may come from any
/// thread; they throw Error(mpi) with NCCL's own text, and after abort() all but its own.
class NcclConnection : public std::enable_shared_from_this<NcclConnection> {
 public:
  /// Collective.
  NcclConnection(Communicator& control, const NcclConfig& config);
  /// After close() or abort().
  ~NcclConnection();
  NcclConnection(const NcclConnection&) = delete;
  NcclConnection& operator=(const NcclConnection&) = delete;
  NcclConnection(NcclConnection&&) = delete;
  NcclConnection& operator=(NcclConnection&&) = delete;

  /// Collective. Sums in place, in the order of `stream`.
  void enqueue_sum(const WireBuffer& buffer, const c10::Stream& stream);

  /// Throws where NCCL has found out, in a thread of its own, that a rank or a link is gone.
  void require_healthy();

  /// Collective, if no rank has failed. Ends all use of it, once what went out has come to the others: they
  /// may not have it when this rank's AllReduce is done.
  void close();

  /// Not a collective: the peers may be gone. Ends what is under way, and all use of it.
  void abort();

  /// Memory of the device that network cards may read and write themselves, where they can; its tensor keeps
  /// this alive. All ranks must ask for the same, in the same order: NCCL wants a buffer to be registered on
  /// every rank or on none, and its numbers at the same place.
  [[nodiscard]] at::Tensor registered(std::int64_t numel, WireType type);

 private:
  struct Block {
    void* memory;
    std::size_t bytes;
    bool taken;
  };

  [[nodiscard]] void* take(std::size_t bytes);
  void give_back(const void* memory);
  void require_usable() const;
  void check(ncclResult_t result, const char* call);
  void finish(ncclResult_t result, const char* call);
  [[nodiscard]] bool finalized();

  const NcclConfig config_;
  std::mutex mutex_;  ///< NCCL's calls of one communicator are for one thread at a time
  ncclComm_t comm_ = nullptr;
  bool failed_ = false;
  bool closed_ = false;
  std::vector<Block> blocks_;  ///< until the end: a kernel that waits for a lost rank may still hold one
};

}  // namespace slicereduce
