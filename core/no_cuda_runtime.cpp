#include "core/cuda_runtime.hpp"
#include "core/profile_range.hpp"

// In place of cuda_runtime.cpp, where CUDA is missing.
namespace slicereduce {

std::unique_ptr<StreamMarks> make_cuda_stream_marks(c10::Device /*device*/, std::size_t /*count*/) {
  return nullptr;
}

ProfileRange::ProfileRange(const char* /*name*/) {}
ProfileRange::~ProfileRange() = default;

std::string cuda_pci_address(c10::Device /*device*/) { return ""; }

}  // namespace slicereduce
