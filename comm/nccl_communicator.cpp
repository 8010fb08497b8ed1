#include "comm/nccl_communicator.hpp"

#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/device.hpp"
#include "core/error.hpp"
#include "core/host_name.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

using Clock = std::chrono::steady_clock;

/// What the user's environment says comes first.
void prefer(const char* variable, const std::string& value) {
  ::setenv(variable, value.c_str(), /*overwrite=*/0);
}

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

void check_cuda(cudaError_t error, const char* call) {
  if (error != cudaSuccess) {
    throw Error(ErrorKind::mpi, concat(call, ": ", cudaGetErrorString(error)));
  }
}

/// Machine and card: a rank's place, which no other may have.
std::string card_of(c10::Device device) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, device.index()), "cudaGetDeviceProperties");
  return concat(host_name(), "/", std::string(properties.uuid.bytes, sizeof(properties.uuid.bytes)));
}

/// Collective. NCCL refuses two ranks on one card, unless they seem to be on two machines.
void set_apart_where_cards_are_shared(Communicator& control, c10::Device device) {
  std::vector<std::string> cards = allgather_texts(control, card_of(device));
  std::ranges::sort(cards);
  if (std::ranges::adjacent_find(cards) != cards.end()) {
    prefer("NCCL_HOSTID", concat(host_name(), "-", control.rank()));
  }
}

c10::Stream new_stream(c10::Device device) {
  constexpr int kHighPriority = -1;
  return c10::impl::VirtualGuardImpl(device.type()).getNewStream(device, kHighPriority);
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& control, const NcclConfig& config)
      : control_(control), config_(config), stream_(new_stream(config.device)) {
    const c10::DeviceGuard guard(config_.device);
    if (control_.world_size() > 1) {
      set_apart_where_cards_are_shared(control_, config_.device);
    }
    ncclUniqueId id{};
    if (rank() == 0) {
      check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    }
    control_.broadcast(std::as_writable_bytes(std::span(&id, 1)), /*root=*/0);
    ncclConfig_t settings = NCCL_CONFIG_INITIALIZER;
    settings.blocking = 0;
    finish(ncclCommInitRankConfig(&comm_, world_size(), id, rank(), &settings), "ncclCommInitRankConfig");
  }

  /// Not a collective: the peers may be gone.
  ~NcclCommunicator() override {
    if (comm_ != nullptr) {
      ncclCommAbort(comm_);
    }
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;
  NcclCommunicator(NcclCommunicator&&) = delete;
  NcclCommunicator& operator=(NcclCommunicator&&) = delete;

  [[nodiscard]] int rank() const noexcept override { return control_.rank(); }
  [[nodiscard]] int world_size() const noexcept override { return control_.world_size(); }
  [[nodiscard]] c10::Device device() const noexcept override { return config_.device; }
  [[nodiscard]] Communicator& on_host() noexcept override { return control_; }

  [[nodiscard]] std::unique_ptr<Pending> start_allreduce(WireBuffer buffer) override;
  [[nodiscard]] std::shared_ptr<const c10::Event> enqueue_allreduce(WireBuffer buffer,
                                                                    const OnItsStream& around) override;
  [[nodiscard]] std::unique_ptr<Pending> start_allreduce_min(std::span<std::uint64_t> values) override {
    return control_.start_allreduce_min(values);
  }
  void broadcast(std::span<std::byte> bytes, int root) override { control_.broadcast(bytes, root); }
  [[nodiscard]] std::vector<std::byte> allgather(std::span<const std::byte> bytes) override {
    return control_.allgather(bytes);
  }
  void gather(std::span<const std::byte> bytes, std::span<std::byte> all, int root) override {
    control_.gather(bytes, all, root);
  }
  void allreduce_sum(std::span<double> values) override { control_.allreduce_sum(values); }
  void barrier() override { control_.barrier(); }

  /// Kernels that wait for other ranks would keep the device, and whoever waits for it, for ever.
  [[noreturn]] void give_up(const std::string& why) const override {
    abort();
    control_.give_up(why);
    Communicator::give_up(why);  // never reached
  }

  /// Throws where NCCL has found out, in a thread of its own, that a rank or a link is gone.
  void require_healthy() const override {
    const std::lock_guard lock(mutex_);
    require_usable();
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
    if (state != ncclInProgress) {
      check(state, "an AllReduce under way");
    }
  }

 private:
  class OnStream;

  void enqueue(const WireBuffer& buffer);

  void abort() const {
    const std::lock_guard lock(mutex_);
    if (comm_ != nullptr) {
      ncclCommAbort(std::exchange(comm_, nullptr));
    }
  }

  void require_usable() const {
    if (comm_ == nullptr) {
      throw Error(ErrorKind::mpi, "NCCL was given up after a failure");
    }
  }

  /// What NCCL says in words: of a failed call, or of the connection behind it.
  void check(ncclResult_t result, const char* call) const {
    if (result == ncclSuccess) {
      return;
    }
    const char* more = comm_ == nullptr ? "" : ncclGetLastError(comm_);
    throw Error(ErrorKind::mpi, concat("NCCL, ", call, ": ", ncclGetErrorString(result),
                                       more == nullptr ? "" : more, " (NCCL_DEBUG=INFO tells more)"));
  }

  /// Calls of a communicator that does not block go on behind the caller's back.
  void finish(ncclResult_t result, const char* call) const {
    constexpr std::chrono::microseconds kPause{200};
    const auto deadline = Clock::now() + config_.timeout;
    while (result == ncclInProgress) {
      if (Clock::now() > deadline) {
        throw Error(ErrorKind::mpi, concat("NCCL, ", call, " is not done after ",
                                           std::chrono::duration<double>(config_.timeout).count(),
                                           " s: a rank has not come, or can't be reached (--timeout)"));
      }
      std::this_thread::sleep_for(kPause);
      check(ncclCommGetAsyncError(comm_, &result), "ncclCommGetAsyncError");
    }
    check(result, call);
  }

  Communicator& control_;
  const NcclConfig config_;
  c10::Stream stream_;
  mutable std::mutex mutex_;  ///< NCCL's calls of one communicator are for one thread at a time
  mutable ncclComm_t comm_ = nullptr;
};

/// Done when the stream has come to its end.
class NcclCommunicator::OnStream final : public Pending {
 public:
  OnStream(const NcclCommunicator& communicator, std::shared_ptr<const c10::Event> ready)
      : communicator_(communicator), ready_(std::move(ready)), done_(communicator.device().type()) {
    done_.record(communicator.stream_);
  }

  [[nodiscard]] bool test() override {
    if (!is_done_) {
      is_done_ = done_.query();
      if (!is_done_) {
        communicator_.require_healthy();
      }
    }
    return is_done_;
  }

 private:
  const NcclCommunicator& communicator_;
  std::shared_ptr<const c10::Event> ready_;  ///< until the stream has passed it
  c10::Event done_;
  bool is_done_ = false;
};

/// Behind what the buffer waits for.
void NcclCommunicator::enqueue(const WireBuffer& buffer) {
  const std::lock_guard lock(mutex_);
  require_usable();
  if (!buffer.bytes.empty()) {
    const std::size_t count = buffer.bytes.size() / wire_size(buffer.type);
    finish(ncclAllReduce(buffer.bytes.data(), buffer.bytes.data(), count, nccl_type(buffer.type), ncclSum,
                         comm_, static_cast<cudaStream_t>(stream_.native_handle())),
           "ncclAllReduce");
  }
}

std::unique_ptr<Pending> NcclCommunicator::start_allreduce(WireBuffer buffer) {
  const c10::DeviceGuard guard(config_.device);
  if (buffer.ready) {
    buffer.ready->block(stream_);
  }
  enqueue(buffer);
  return std::make_unique<OnStream>(*this, std::move(buffer.ready));
}

std::shared_ptr<const c10::Event> NcclCommunicator::enqueue_allreduce(WireBuffer buffer,
                                                                      const OnItsStream& around) {
  const c10::DeviceGuard guard(config_.device);
  if (buffer.ready) {
    buffer.ready->block(stream_);
  }
  around.before(stream_);
  enqueue(buffer);
  around.after(stream_);
  auto arrived = std::make_shared<c10::Event>(config_.device.type());
  arrived->record(stream_);
  return arrived;
}

}  // namespace

bool has_nccl() noexcept { return true; }

void prefer_reproducible_nccl() {
  prefer("NCCL_ALGO", "Ring");
  prefer("NCCL_PROTO", "Simple");
}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control, const NcclConfig& config) {
  require(config.device.is_cuda(), "NCCL reduces in the memory of CUDA devices");
  return std::make_unique<NcclCommunicator>(control, config);
}

}  // namespace slicereduce
