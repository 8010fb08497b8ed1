#pragma once

#include <map>
#include <string>

namespace slicereduce {

/// This program's, and those of the libraries that are loaded: slicereduce, libtorch, mpi, and in a build
/// that has them cuda and nccl.
[[nodiscard]] std::map<std::string, std::string> versions();

/// The same for people, a line each.
[[nodiscard]] std::string version_text();

}  // namespace slicereduce
