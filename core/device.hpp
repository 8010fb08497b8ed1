#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string_view>

namespace slicereduce {

enum class DeviceChoice { automatic, cpu, cuda };

/// "auto", "cpu" or "cuda". Throws Error(usage) for anything else.
[[nodiscard]] DeviceChoice parse_device_choice(std::string_view text);

/// The device of the rank that is `local_rank`th on its machine: its own card, or a shared one where there
/// are more ranks than cards. `automatic` is the CPU where there is no card. Throws Error(usage) where
/// CUDA is asked for and this build or this machine has none.
[[nodiscard]] at::Device choose_device(DeviceChoice choice, int local_rank);

/// Threads for one of `local_world_size` ranks of a machine: the cores that this process may run on
/// (sched_getaffinity), shared out, at least 1.
[[nodiscard]] int default_threads(int local_world_size);

/// The most host memory this process has had resident (VmHWM). Throws Error(io) where the kernel doesn't
/// tell.
[[nodiscard]] std::int64_t peak_memory_bytes();

}  // namespace slicereduce
