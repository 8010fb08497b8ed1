#include "core/device.hpp"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>

#include "core/choice.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

[[noreturn]] void refuse_cuda() {
  throw Error(
      ErrorKind::usage,
      at::Context::hasCUDART()
          ? "--device cuda: this machine shows no CUDA device (nvidia-smi, CUDA_VISIBLE_DEVICES); use "
            "--device cpu or auto"
          : "--device cuda: this build has no CUDA; use --device cpu or auto");
}

}  // namespace

std::vector<int> usable_cores() {
  // A fixed cpu_set_t ends at 1,024 processors, and the kernel refuses it on machines with more.
  for (int processors = CPU_SETSIZE; processors <= (1 << 20); processors *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(processors),
                                                               [](cpu_set_t* owned) { CPU_FREE(owned); });
    const std::size_t size = CPU_ALLOC_SIZE(processors);
    if (set && ::sched_getaffinity(0, size, set.get()) == 0) {
      std::vector<int> cores;
      for (int core = 0; core < processors; ++core) {
        if (CPU_ISSET_S(core, size, set.get())) {
          cores.push_back(core);
        }
      }
      return cores;
    }
  }
  return {0};
}

DeviceChoice parse_device_choice(std::string_view text) {
  return parse_choice<DeviceChoice>(
      text, "--device",
      {{"auto", DeviceChoice::automatic}, {"cpu", DeviceChoice::cpu}, {"cuda", DeviceChoice::cuda}});
}

at::Device choose_device(DeviceChoice choice, int local_rank) {
  require(local_rank >= 0, "a local rank is negative");
  const auto cards = choice == DeviceChoice::cpu || !at::hasCUDA()
                         ? 0
                         : static_cast<int>(at::detail::getCUDAHooks().deviceCount());
  if (cards > 0) {
    return {at::kCUDA, static_cast<at::DeviceIndex>(local_rank % cards)};
  }
  if (choice == DeviceChoice::cuda) {
    refuse_cuda();
  }
  return at::kCPU;
}

Cudnn parse_cudnn(std::string_view text) {
  return parse_choice<Cudnn>(text, "--cudnn",
                             {{"deterministic", Cudnn::deterministic}, {"fastest", Cudnn::fastest}});
}

void make_current(at::Device device, Cudnn cudnn) {
  if (!device.is_cpu()) {
    c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
  }
  at::globalContext().setDeterministicCuDNN(cudnn == Cudnn::deterministic);
  at::globalContext().setBenchmarkCuDNN(cudnn == Cudnn::fastest);
}

std::shared_ptr<const c10::Event> mark(at::Device device) {
  if (device.is_cpu()) {
    return nullptr;
  }
  const auto event = std::make_shared<c10::Event>(device.type());
  event->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  return event;
}

void synchronize(at::Device device) {
  if (!device.is_cpu()) {
    c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
  }
}

int default_threads(int cores, int local_world_size) {
  require(local_world_size >= 1, "a machine has no ranks");
  return std::max(1, cores / local_world_size);
}

std::int64_t peak_device_memory_bytes(at::Device device) {
  if (device.is_cpu()) {
    return 0;
  }
  constexpr std::size_t kOfAllSizes = 0;
  return at::getDeviceAllocator(device.type())
      ->getDeviceStats(device.index())
      .allocated_bytes.at(kOfAllSizes)
      .peak;
}

std::int64_t peak_memory_bytes() {
  constexpr std::string_view kField = "VmHWM:";
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(kField)) {
      return std::stoll(line.substr(kField.size())) * 1024;
    }
  }
  throw Error(ErrorKind::io, "cannot read the peak memory: /proc/self/status has no VmHWM");
}

}  // namespace slicereduce
