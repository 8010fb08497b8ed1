#include "core/cuda_runtime.hpp"

#include <c10/core/DeviceGuard.h>
#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

#include <array>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

void check(cudaError_t error, const char* call) {
  if (error != cudaSuccess) {
    throw Error(ErrorKind::invariant, concat(call, ": ", cudaGetErrorString(error)));
  }
}

bool is_captured(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
  return status == cudaStreamCaptureStatusActive;
}

class CudaMarks final : public StreamMarks {
 public:
  CudaMarks(c10::Device device, std::size_t count) : StreamMarks(device), events_(count) {
    const c10::DeviceGuard guard(device);
    for (cudaEvent_t& event : events_) {
      check(cudaEventCreate(&event), "cudaEventCreate");
    }
  }
  ~CudaMarks() override {
    for (cudaEvent_t event : events_) {
      (void)cudaEventDestroy(event);  // a process may end after its driver
    }
  }
  CudaMarks(const CudaMarks&) = delete;
  CudaMarks& operator=(const CudaMarks&) = delete;
  CudaMarks(CudaMarks&&) = delete;
  CudaMarks& operator=(CudaMarks&&) = delete;

  void record(std::size_t mark, c10::Stream stream) override {
    auto* const handle = static_cast<cudaStream_t>(stream.native_handle());
    // Else it would be an edge of the graph, and not recorded when this runs.
    const unsigned flags = is_captured(handle) ? cudaEventRecordExternal : cudaEventRecordDefault;
    check(cudaEventRecordWithFlags(events_.at(mark), handle, flags), "cudaEventRecordWithFlags");
  }
  [[nodiscard]] bool passed(std::size_t mark) const override {
    const cudaError_t state = cudaEventQuery(events_.at(mark));
    if (state == cudaErrorNotReady) {
      (void)cudaGetLastError();  // it would be taken for a later call's
      return false;
    }
    check(state, "cudaEventQuery");
    return true;
  }
  [[nodiscard]] double ms_between(std::size_t from, std::size_t to) const override {
    float ms = 0;
    check(cudaEventElapsedTime(&ms, events_.at(from), events_.at(to)), "cudaEventElapsedTime");
    return ms;
  }

 private:
  std::vector<cudaEvent_t> events_;
};

}  // namespace

std::unique_ptr<StreamMarks> make_cuda_stream_marks(c10::Device device, std::size_t count) {
  return std::make_unique<CudaMarks>(device, count);
}

std::string cuda_version() {
  int version = 0;
  check(cudaRuntimeGetVersion(&version), "cudaRuntimeGetVersion");
  return concat(version / 1000, '.', version % 1000 / 10);
}

void push_nvtx_range(const char* name) { nvtxRangePushA(name); }

void pop_nvtx_range() { nvtxRangePop(); }

std::uint64_t start_nvtx_range(const char* name) { return nvtxRangeStartA(name); }

void end_nvtx_range(std::uint64_t range) { nvtxRangeEnd(range); }

void mark_nvtx(const char* name) { nvtxMarkA(name); }

std::string cuda_pci_address(c10::Device device) {
  constexpr int kLongest = 32;
  std::array<char, kLongest> address{};
  const cudaError_t error = cudaDeviceGetPCIBusId(address.data(), kLongest, device.index());
  return error == cudaSuccess ? address.data() : "";
}

}  // namespace slicereduce
