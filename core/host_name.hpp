#pragma once

#include <string>

namespace slicereduce {

/// This machine's, as it calls itself.
[[nodiscard]] std::string host_name();

}  // namespace slicereduce
