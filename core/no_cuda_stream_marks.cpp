#include "core/stream_marks.hpp"

// In place of cuda_stream_marks.cpp, where CUDA is missing.
namespace slicereduce {

std::unique_ptr<StreamMarks> make_cuda_stream_marks(c10::Device /*device*/, std::size_t /*count*/) {
  return nullptr;
}

}  // namespace slicereduce
