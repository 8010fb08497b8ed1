#include "sampling/slice_kernels.hpp"

// In place of slice_kernels.cu, where nvcc is missing.
namespace slicereduce::kernels {

namespace {
constexpr const char* kMissing = "this build has no CUDA kernels";
}

bool are_built() { return false; }

const char* launch(const Table<GatherEntry>& /*table*/, void* /*stream*/) { return kMissing; }
const char* launch(const Table<UpdateEntry>& /*table*/, void* /*stream*/) { return kMissing; }
const char* launch(const Table<NormEntry>& /*table*/, void* /*stream*/) { return kMissing; }
const char* launch(const Table<RankEntry>& /*table*/, void* /*stream*/) { return kMissing; }
const char* launch(const Table<ListEntry>& /*table*/, void* /*stream*/) { return kMissing; }
const char* launch(const Table<TakeEntry>& /*table*/, void* /*stream*/) { return kMissing; }
const char* launch(const Table<GiveEntry>& /*table*/, void* /*stream*/) { return kMissing; }
const char* launch(const Table<SumEntry>& /*table*/, void* /*stream*/) { return kMissing; }

}  // namespace slicereduce::kernels
