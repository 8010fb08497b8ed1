#include "comm/nccl_connection.hpp"

#include <ATen/ops/from_blob.h>
#include <c10/core/DeviceGuard.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <span>
#include <thread>
#include <utility>

#include "comm/pack.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

using Clock = std::chrono::steady_clock;

ncclDataType_t nccl_type(WireType type) {
  switch (type) {
    case WireType::fp32:
      return ncclFloat32;
    case WireType::bf16:
      return ncclBfloat16;
    case WireType::fp16:
      break;
  }
  return ncclFloat16;
}

}  // namespace

NcclConnection::NcclConnection(Communicator& control, const NcclConfig& config) : config_(config) {
  const c10::DeviceGuard guard(config_.device);
  ncclUniqueId id{};
  if (control.rank() == 0) {
    check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  }
  control.broadcast(std::as_writable_bytes(std::span(&id, 1)), /*root=*/0);
  ncclConfig_t settings = NCCL_CONFIG_INITIALIZER;
  settings.blocking = 0;
  finish(ncclCommInitRankConfig(&comm_, control.world_size(), id, control.rank(), &settings),
         "ncclCommInitRankConfig");
}

NcclConnection::~NcclConnection() {
  if (!closed_ || blocks_.empty()) {
    return;  // after a failure kernels may still wait for others; the process is about to end
  }
  const c10::DeviceGuard guard(config_.device);
  cudaDeviceSynchronize();
  for (const Block& block : blocks_) {
    ncclMemFree(block.memory);
  }
}

void NcclConnection::enqueue_sum(const WireBuffer& buffer, const c10::Stream& stream) {
  const std::lock_guard lock(mutex_);
  require_usable();
  if (!buffer.bytes.empty()) {
    const std::size_t count = buffer.bytes.size() / wire_size(buffer.type);
    finish(ncclAllReduce(buffer.bytes.data(), buffer.bytes.data(), count, nccl_type(buffer.type), ncclSum,
                         comm_, static_cast<cudaStream_t>(stream.native_handle())),
           "ncclAllReduce");
  }
}

void NcclConnection::require_healthy() {
  const std::lock_guard lock(mutex_);
  require_usable();
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
  if (state != ncclInProgress) {
    check(state, "an AllReduce under way");
  }
}

void NcclConnection::close() {
  if (!finalized()) {
    abort();
    return;
  }
  const std::lock_guard lock(mutex_);
  ncclCommDestroy(std::exchange(comm_, nullptr));
  closed_ = true;
}

/// Whether all ranks have come to the end.
bool NcclConnection::finalized() {
  constexpr std::chrono::seconds kPatience{5};
  constexpr std::chrono::milliseconds kPause{1};
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr || failed_) {
    return false;
  }
  ncclResult_t state = ncclCommFinalize(comm_);
  const auto deadline = Clock::now() + kPatience;
  while (state == ncclInProgress && Clock::now() < deadline) {
    std::this_thread::sleep_for(kPause);
    if (ncclCommGetAsyncError(comm_, &state) != ncclSuccess) {
      return false;
    }
  }
  return state == ncclSuccess;
}

void NcclConnection::abort() {
  const std::lock_guard lock(mutex_);
  if (comm_ != nullptr) {
    // It stops kernels at once, but comes back when no graph refers to the communicator any more: and those
    // are their owner's, who may be the caller.
    std::thread([comm = std::exchange(comm_, nullptr)] { ncclCommAbort(comm); }).detach();
  }
}

at::Tensor NcclConnection::registered(std::int64_t numel, WireType type) {
  const c10::DeviceGuard guard(config_.device);
  const auto options = at::TensorOptions(config_.device).dtype(scalar_type(type));
  void* const memory = take(std::max<std::size_t>(static_cast<std::size_t>(numel), 1) * wire_size(type));
  const auto give = [self = shared_from_this()](const void* given) { self->give_back(given); };
  return at::from_blob(memory, {numel}, give, options);
}

/// What was given back and is large enough comes first, the smallest of it.
void* NcclConnection::take(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  require_usable();
  Block* best = nullptr;
  for (Block& block : blocks_) {
    if (!block.taken && block.bytes >= bytes && (best == nullptr || block.bytes < best->bytes)) {
      best = &block;
    }
  }
  if (best == nullptr) {
    void* memory = nullptr;
    check(ncclMemAlloc(&memory, bytes), "ncclMemAlloc");
    best = &blocks_.emplace_back(Block{.memory = memory, .bytes = bytes, .taken = false});
    void* handle = nullptr;  // NCCL itself forgets it with the communicator
    check(ncclCommRegister(comm_, memory, bytes, &handle), "ncclCommRegister");
  }
  best->taken = true;
  return best->memory;
}

void NcclConnection::give_back(const void* memory) {
  const std::lock_guard lock(mutex_);
  std::ranges::find(blocks_, memory, &Block::memory)->taken = false;
}

void NcclConnection::require_usable() const {
  if (comm_ == nullptr) {
    throw Error(ErrorKind::mpi, "NCCL was given up after a failure");
  }
}

/// What NCCL says in words: of a failed call, or of the connection behind it.
void NcclConnection::check(ncclResult_t result, const char* call) {
  if (result == ncclSuccess) {
    return;
  }
  failed_ = true;
  const char* more = comm_ == nullptr ? "" : ncclGetLastError(comm_);
  throw Error(ErrorKind::mpi, concat("NCCL, ", call, ": ", ncclGetErrorString(result),
                                     more == nullptr ? "" : more, " (NCCL_DEBUG=INFO tells more)"));
}

/// Calls of a communicator that does not block go on behind the caller's back.
void NcclConnection::finish(ncclResult_t result, const char* call) {
  constexpr std::chrono::microseconds kPause{200};
  constexpr std::chrono::microseconds kShort{100};  // what an AllReduce takes to be enqueued
  const auto begun = Clock::now();
  while (result == ncclInProgress) {
    const auto elapsed = Clock::now() - begun;
    if (elapsed > config_.timeout) {
      failed_ = true;
      throw Error(ErrorKind::mpi, concat("NCCL, ", call, " is not done after ",
                                         std::chrono::duration<double>(config_.timeout).count(),
                                         " s: a rank has not come, or can't be reached (--timeout)"));
    }
    if (elapsed < kShort) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kPause);
    }
    check(ncclCommGetAsyncError(comm_, &result), "ncclCommGetAsyncError");
  }
  check(result, call);
}

}  // namespace slicereduce
