#pragma once

#include <c10/core/Device.h>

#include <filesystem>
#include <string>
#include <vector>

namespace slicereduce {

/// The cores beside the memory that `device` is attached to, of those that this process may run on; all of
/// these where the machine does not tell, or none of them is near.
[[nodiscard]] std::vector<int> cores_near(c10::Device device);

/// The same of the PCI device at `address` ("0000:3b:00.0"), of `usable`, as the kernel has it under `sys`.
[[nodiscard]] std::vector<int> cores_near(const std::string& address, const std::vector<int>& usable,
                                          const std::filesystem::path& sys);

/// "0-3,8" to {0, 1, 2, 3, 8}; what is no such list ends it.
[[nodiscard]] std::vector<int> parse_core_list(const std::string& text);

/// Lets this thread run on `cores` alone, by their numbers; on all as before where there are none, or the
/// kernel does not allow it.
void keep_this_thread_on(const std::vector<int>& cores);

}  // namespace slicereduce
