#include "sampling/slice_kernels.hpp"

namespace slicereduce::kernels {

namespace {

/// Which entry a block works for: the last whose first block is not behind it. Blocks of one entry take the
/// same way.
template <typename Entry>
__device__ std::int32_t entry_of(const Table<Entry>& table, std::int32_t block) {
  std::int32_t begin = 0;
  std::int32_t end = table.count;
  while (end - begin > 1) {
    const std::int32_t middle = (begin + end) / 2;
    if (table.first_block[middle] <= block) {
      begin = middle;
    } else {
      end = middle;
    }
  }
  return begin;
}

template <typename Entry>
__global__ void __launch_bounds__(kThreadsPerBlock) run_all(const __grid_constant__ Table<Entry> table) {
  const auto block = static_cast<std::int32_t>(blockIdx.x);
  const std::int32_t at = entry_of(table, block);
  const Entry& entry = table.entries[at];
  const std::int64_t thread =
      static_cast<std::int64_t>(block - table.first_block[at]) * kThreadsPerBlock + threadIdx.x;
  if (thread < entry.threads()) {
    run(entry, static_cast<std::uint32_t>(thread));
  }
}

template <typename Entry>
const char* launch_all(const Table<Entry>& table, void* stream) {
  static_assert(sizeof(table) <= 32'764, "a kernel's argument may not be larger");
  if (table.blocks() == 0) {
    return nullptr;
  }
  run_all<Entry><<<table.blocks(), kThreadsPerBlock, 0, static_cast<cudaStream_t>(stream)>>>(table);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace

bool are_built() { return true; }

const char* launch(const Table<GatherEntry>& table, void* stream) { return launch_all(table, stream); }
const char* launch(const Table<UpdateEntry>& table, void* stream) { return launch_all(table, stream); }
const char* launch(const Table<NormEntry>& table, void* stream) { return launch_all(table, stream); }
const char* launch(const Table<RankEntry>& table, void* stream) { return launch_all(table, stream); }
const char* launch(const Table<ListEntry>& table, void* stream) { return launch_all(table, stream); }
const char* launch(const Table<TakeEntry>& table, void* stream) { return launch_all(table, stream); }
const char* launch(const Table<GiveEntry>& table, void* stream) { return launch_all(table, stream); }
const char* launch(const Table<SumEntry>& table, void* stream) { return launch_all(table, stream); }

}  // namespace slicereduce::kernels
