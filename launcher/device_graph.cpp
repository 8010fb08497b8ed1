#include "launcher/device_graph.hpp"

#include "core/error.hpp"

namespace slicereduce {

namespace {

class NoGraph final : public DeviceGraph {
 public:
  void run(const std::function<void()>& work) override { work(); }
};

}  // namespace

std::unique_ptr<DeviceGraph> make_device_graph(c10::Device device) {
  if (device.is_cpu()) {
    return std::make_unique<NoGraph>();
  }
  auto graph = device.is_cuda() ? make_cuda_graph() : nullptr;
  require(graph != nullptr, "this build has no graphs for its device");
  return graph;
}

}  // namespace slicereduce
