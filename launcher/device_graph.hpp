#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace slicereduce {

/// Work of many small pieces that a device is given again and again: once it was seen, all of it at once.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;

  /// So often `work` is run as it is: libraries make their choices and take what memory they want to keep.
  static constexpr int kRunsBefore = 3;

  /// `work`, given to the current stream of the device, which is not its default one. It must be the same
  /// each time: on the same memory, without looking at a number. At first it is run as it is; then
  /// what it gives to the device is captured, and from then on it is not called any more. Throws Error(usage)
  /// where it can't be captured.
  virtual void run(const std::function<void()>& work) = 0;
};

/// For the CPU, where `work` is called each time, and for CUDA devices in a build that has them. Throws
/// Error(invariant) for others.
[[nodiscard]] std::unique_ptr<DeviceGraph> make_device_graph(c10::Device device);

/// Nothing in a build without CUDA.
[[nodiscard]] std::unique_ptr<DeviceGraph> make_cuda_graph();

}  // namespace slicereduce
