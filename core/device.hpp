#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace c10 {
struct Event;
}

namespace slicereduce {

/// Of --device.
enum class DeviceChoice { automatic, cpu, cuda };

/// "auto", "cpu" or "cuda". Throws Error(usage) for anything else.
[[nodiscard]] DeviceChoice parse_device_choice(std::string_view text);

/// The device of the rank that is `local_rank`th on its machine: its own card, or a shared one where there
/// are more ranks than cards. `automatic` is the CPU where there is no card. Throws Error(usage) where
/// CUDA is asked for and this build or this machine has none.
[[nodiscard]] at::Device choose_device(DeviceChoice choice, int local_rank);

/// Which of cuDNN's kernels compute a card's convolutions.
enum class Cudnn {
  deterministic,  ///< of those that give the same bits every time, what it expects to be fast
  fastest,        ///< what it has measured, for each shape, the first time
};

/// Throws Error(usage).
[[nodiscard]] Cudnn parse_cudnn(std::string_view text);

/// Makes `device` the one that this thread allocates and computes on; `cudnn` is for the whole process.
void make_current(at::Device device, Cudnn cudnn = Cudnn::deterministic);

/// What the current stream of `device` was given so far, for other streams to wait for; nothing on the CPU.
[[nodiscard]] std::shared_ptr<const c10::Event> mark(at::Device device);

/// Waits until `device` has done all that it was given; the CPU has.
void synchronize(at::Device device);

/// The cores that this process may run on (sched_getaffinity), by number.
[[nodiscard]] std::vector<int> usable_cores();

/// Threads for one of `local_world_size` ranks of a machine that may run on `cores` cores between them: a
/// fair share, at least 1. Whether a launcher has bound each rank to cores of its own or none of them, the
/// share is the same.
[[nodiscard]] int default_threads(int cores, int local_world_size);

/// The most memory of `device` that tensors of this process have had at once; 0 for the CPU.
[[nodiscard]] std::int64_t peak_device_memory_bytes(at::Device device);

/// The most host memory this process has had resident (VmHWM). Throws Error(io) where the kernel doesn't
/// tell.
[[nodiscard]] std::int64_t peak_memory_bytes();

}  // namespace slicereduce
