#include "core/numa.hpp"

#include <sched.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include "core/cuda_runtime.hpp"
#include "core/device.hpp"

namespace slicereduce {

namespace {

std::string first_line(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

}  // namespace

std::vector<int> parse_core_list(const std::string& text) {
  std::vector<int> cores;
  std::istringstream ranges(text);
  for (int first = 0; ranges >> first;) {
    int last = first;
    if (ranges.peek() == '-') {
      ranges.get();
      ranges >> last;
    }
    for (int core = first; core <= last; ++core) {
      cores.push_back(core);
    }
    if (ranges.get() != ',') {
      break;
    }
  }
  return cores;
}

std::vector<int> cores_near(const std::string& address, const std::vector<int>& usable,
                            const std::filesystem::path& sys) {
  const std::string node = first_line(sys / "bus/pci/devices" / address / "numa_node");  // -1: unknown
  const std::vector<int> near =
      parse_core_list(first_line(sys / "devices/system/node" / ("node" + node) / "cpulist"));
  std::vector<int> both;
  std::ranges::set_intersection(usable, near, std::back_inserter(both));
  return both.empty() ? usable : both;
}

std::vector<int> cores_near(c10::Device device) {
  const std::vector<int> usable = usable_cores();
  std::string address = device.is_cuda() ? cuda_pci_address(device) : "";
  std::ranges::transform(address, address.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return address.empty() ? usable : cores_near(address, usable, "/sys");
}

void keep_this_thread_on(const std::vector<int>& cores) {
  if (cores.empty()) {
    return;
  }
  const int count = *std::ranges::max_element(cores) + 1;
  const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(count),
                                                             [](cpu_set_t* owned) { CPU_FREE(owned); });
  const std::size_t size = CPU_ALLOC_SIZE(count);
  CPU_ZERO_S(size, set.get());
  for (const int core : cores) {
    CPU_SET_S(core, size, set.get());
  }
  (void)::sched_setaffinity(0, size, set.get());
}

}  // namespace slicereduce
