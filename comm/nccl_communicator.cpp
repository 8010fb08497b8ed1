#include "comm/nccl_communicator.hpp"

#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "comm/nccl_connection.hpp"
#include "core/device.hpp"
#include "core/error.hpp"
#include "core/host_name.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

/// What the user's environment says comes first.
void prefer(const char* variable, const std::string& value) {
  ::setenv(variable, value.c_str(), /*overwrite=*/0);
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

std::shared_ptr<NcclConnection> connect(Communicator& control, const NcclConfig& config) {
  if (control.world_size() > 1) {
    set_apart_where_cards_are_shared(control, config.device);
  }
  return std::make_shared<NcclConnection>(control, config);
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& control, const NcclConfig& config)
      : control_(control),
        device_(config.device),
        stream_(new_stream(config.device)),
        connection_(connect(control, config)) {}

  /// Buffers may outlive it, but not what it has under way.
  ~NcclCommunicator() override {
    if (std::uncaught_exceptions() > 0) {
      connection_->abort();  // the others may be gone, or be waiting for this rank
    } else {
      connection_->close();
    }
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;
  NcclCommunicator(NcclCommunicator&&) = delete;
  NcclCommunicator& operator=(NcclCommunicator&&) = delete;

  [[nodiscard]] int rank() const noexcept override { return control_.rank(); }
  [[nodiscard]] int world_size() const noexcept override { return control_.world_size(); }
  [[nodiscard]] c10::Device device() const noexcept override { return device_; }
  [[nodiscard]] Communicator& on_host() noexcept override { return control_; }
  [[nodiscard]] const Communicator& on_host() const noexcept override { return control_; }
  [[nodiscard]] at::Tensor make_buffer(std::int64_t numel, WireType type) override {
    return connection_->registered(numel, type);
  }

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
    connection_->abort();
    control_.give_up(why);
    Communicator::give_up(why);  // never reached
  }

  void require_healthy() const override { connection_->require_healthy(); }

 private:
  class OnStream;

  Communicator& control_;
  const c10::Device device_;
  c10::Stream stream_;
  std::shared_ptr<NcclConnection> connection_;
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

std::unique_ptr<Pending> NcclCommunicator::start_allreduce(WireBuffer buffer) {
  const c10::DeviceGuard guard(device_);
  if (buffer.ready) {
    buffer.ready->block(stream_);
  }
  connection_->enqueue_sum(buffer, stream_);
  return std::make_unique<OnStream>(*this, std::move(buffer.ready));
}

std::shared_ptr<const c10::Event> NcclCommunicator::enqueue_allreduce(WireBuffer buffer,
                                                                      const OnItsStream& around) {
  const c10::DeviceGuard guard(device_);
  if (buffer.ready) {
    buffer.ready->block(stream_);
  }
  around.before(stream_);
  connection_->enqueue_sum(buffer, stream_);
  around.after(stream_);
  auto arrived = std::make_shared<c10::Event>(device_.type());
  arrived->record(stream_);
  return arrived;
}

}  // namespace

bool has_nccl() noexcept { return true; }

std::string nccl_version() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) {
    return "unknown";
  }
  constexpr int kMajor = 10'000;
  constexpr int kMinor = 100;
  return concat(version / kMajor, '.', version % kMajor / kMinor, '.', version % kMinor);
}

void prefer_reproducible_nccl() {
  prefer("NCCL_ALGO", "Ring");
  prefer("NCCL_PROTO", "Simple");
}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control, const NcclConfig& config) {
  require(config.device.is_cuda(), "NCCL reduces in the memory of CUDA devices");
  return std::make_unique<NcclCommunicator>(control, config);
}

}  // namespace slicereduce
