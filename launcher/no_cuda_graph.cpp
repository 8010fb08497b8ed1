#include "launcher/device_graph.hpp"

// In place of cuda_graph.cpp, where CUDA is missing.
namespace slicereduce {

std::unique_ptr<DeviceGraph> make_cuda_graph() { return nullptr; }

}  // namespace slicereduce
