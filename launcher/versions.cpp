#include "launcher/versions.hpp"

#include <mpi.h>
#include <torch/version.h>

#include <array>
#include <iomanip>

#include "comm/nccl_communicator.hpp"
#include "core/cuda_runtime.hpp"
#include "core/text.hpp"
#include "launcher/version.hpp"

namespace slicereduce {

namespace {

/// "Open MPI v4.1.4": what follows tells who built it.
std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  if (MPI_Get_library_version(text.data(), &length) != MPI_SUCCESS) {
    return "unknown";
  }
  const std::string whole(text.data(), static_cast<std::size_t>(length));
  return whole.substr(0, whole.find_first_of(",\n"));
}

}  // namespace

std::map<std::string, std::string> versions() {
  std::map<std::string, std::string> found{
      {"slicereduce", kVersion}, {"libtorch", TORCH_VERSION}, {"mpi", mpi_version()}};
  for (const auto& [name, version] : {std::pair("cuda", cuda_version()), std::pair("nccl", nccl_version())}) {
    if (!version.empty()) {
      found.emplace(name, version);
    }
  }
  return found;
}

std::string version_text() {
  auto found = versions();
  std::string text = concat("slicereduce ", found.extract("slicereduce").mapped());
  const std::map<std::string, std::string> spoken{
      {"libtorch", "LibTorch"}, {"mpi", "MPI"}, {"cuda", "CUDA"}, {"nccl", "NCCL"}};
  for (const auto& [name, label] : spoken) {
    text += concat('\n', std::left, std::setw(9), label,
                   found.contains(name) ? found.at(name) : "not in this build");
  }
  return text;
}

}  // namespace slicereduce
