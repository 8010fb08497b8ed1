#pragma once

#include <exception>
#include <string>

namespace slicereduce {

/// What an exception says to a user: of LibTorch's, without where in its source it was thrown.
[[nodiscard]] std::string message_of(const std::exception& problem);

}  // namespace slicereduce
