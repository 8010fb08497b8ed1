#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/stream_marks.hpp"

/// What core asks CUDA's runtime itself for, in a build that has it.
namespace slicereduce {

/// Nothing in a build without CUDA.
[[nodiscard]] std::unique_ptr<StreamMarks> make_cuda_stream_marks(c10::Device device, std::size_t count);

/// "0000:3B:00.0"; empty in a build without CUDA, or where the driver does not tell.
[[nodiscard]] std::string cuda_pci_address(c10::Device device);

/// "13.0", of the runtime that is loaded; empty in a build without CUDA.
[[nodiscard]] std::string cuda_version();

/// Of this thread, one inside the other. Nothing in a build without CUDA.
void push_nvtx_range(const char* name);
void pop_nvtx_range();
/// One that ends wherever it does, on any thread; start_ gives what end_ takes.
[[nodiscard]] std::uint64_t start_nvtx_range(const char* name);
void end_nvtx_range(std::uint64_t range);
/// A moment of this thread.
void mark_nvtx(const char* name);

}  // namespace slicereduce
