#pragma once

#include <cstdint>

#include "sampling/slice_programs.hpp"

/// The programs of slice_programs.hpp as kernels: one launch for all entries of a table, which is a kernel's
/// argument. C++17, without LibTorch.
namespace slicereduce::kernels {

/// What is left of the 32,764 bytes that an argument may have (CUDA 12.1 and later), an entry's first block
/// included.
inline constexpr std::size_t kMostTableBytes = 32'000;
inline constexpr std::int32_t kThreadsPerBlock = 256;

/// Whether a launch is for one entry: those of an activation come when it is there, and all of an argument is
/// copied for each launch, whatever is in it.
template <typename Entry>
inline constexpr bool kComesAlone = false;
template <>
inline constexpr bool kComesAlone<TakeEntry> = true;
template <>
inline constexpr bool kComesAlone<GiveEntry> = true;
template <>
inline constexpr bool kComesAlone<SumEntry> = true;

/// A kernel's argument: as many entries as fit, and which blocks are whose.
template <typename Entry>
struct Table {
  static constexpr std::int32_t kCapacity =
      kComesAlone<Entry> ? 1 : kMostTableBytes / (sizeof(Entry) + sizeof(std::int32_t));

  Entry entries[kCapacity];
  std::int32_t first_block[kCapacity + 1] = {};
  std::int32_t count = 0;

  /// False where it is full, or the blocks are more than a launch can have.
  [[nodiscard]] bool add(const Entry& entry) {
    const std::int64_t end = first_block[count] + (entry.threads() + kThreadsPerBlock - 1) / kThreadsPerBlock;
    if (count == kCapacity || end > INT32_MAX) {
      return false;
    }
    entries[count++] = entry;
    first_block[count] = static_cast<std::int32_t>(end);
    return true;
  }
  [[nodiscard]] std::int32_t blocks() const { return first_block[count]; }
};

/// Whether this build has them.
[[nodiscard]] bool are_built();

/// Enqueues the kernel on `stream`, a cudaStream_t of the current device. Returns what CUDA says against it;
/// nullptr where nothing.
[[nodiscard]] const char* launch(const Table<GatherEntry>& table, void* stream);
[[nodiscard]] const char* launch(const Table<UpdateEntry>& table, void* stream);
[[nodiscard]] const char* launch(const Table<NormEntry>& table, void* stream);
[[nodiscard]] const char* launch(const Table<RankEntry>& table, void* stream);
[[nodiscard]] const char* launch(const Table<ListEntry>& table, void* stream);
[[nodiscard]] const char* launch(const Table<TakeEntry>& table, void* stream);
[[nodiscard]] const char* launch(const Table<GiveEntry>& table, void* stream);
[[nodiscard]] const char* launch(const Table<SumEntry>& table, void* stream);

}  // namespace slicereduce::kernels
