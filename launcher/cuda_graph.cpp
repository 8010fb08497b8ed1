#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/util/Exception.h>

#include "core/error.hpp"
#include "core/text.hpp"
#include "launcher/device_graph.hpp"

namespace slicereduce {

namespace {

class CudaGraph final : public DeviceGraph {
 public:
  void run(const std::function<void()>& work) override {
    if (runs_ < kRunsBefore) {
      work();
      ++runs_;
      return;
    }
    if (!is_captured_) {
      capture(work);
      is_captured_ = true;
    }
    graph_.replay();
  }

 private:
  void capture(const std::function<void()>& work) {
    try {
      // A graph has memory of its own: what the runs before it have left would stay beside it.
      c10::cuda::device_synchronize();
      c10::cuda::CUDACachingAllocator::emptyCache();
      // Other threads may do what they like meanwhile: the loader's take pinned memory.
      graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      try {
        work();
      } catch (...) {
        leave_capture();
        throw;
      }
      graph_.capture_end();
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const c10::Error& failure) {
      throw Error(ErrorKind::usage, concat("a step can't be captured as a CUDA graph: use --cuda-graph off (",
                                           failure.what_without_backtrace(), ")"));
    }
  }

  /// Else this thread could hardly do anything on the device any more, such as to tell others of the failure.
  void leave_capture() {
    try {
      graph_.capture_end();
    } catch (const c10::Error&) {  // what has failed is known
    }
  }

  at::cuda::CUDAGraph graph_;
  int runs_ = 0;
  bool is_captured_ = false;
};

}  // namespace

std::unique_ptr<DeviceGraph> make_cuda_graph() { return std::make_unique<CudaGraph>(); }

}  // namespace slicereduce
