#include "core/cuda_runtime.hpp"

// In place of cuda_runtime.cpp, where CUDA is missing.
namespace slicereduce {

std::unique_ptr<StreamMarks> make_cuda_stream_marks(c10::Device /*device*/, std::size_t /*count*/) {
  return nullptr;
}

std::string cuda_version() { return ""; }

void push_nvtx_range(const char* /*name*/) {}

void pop_nvtx_range() {}

std::uint64_t start_nvtx_range(const char* /*name*/) { return 0; }

void end_nvtx_range(std::uint64_t /*range*/) {}

void mark_nvtx(const char* /*name*/) {}

std::string cuda_pci_address(c10::Device /*device*/) { return ""; }

}  // namespace slicereduce
