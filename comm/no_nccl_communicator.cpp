#include "comm/nccl_communicator.hpp"
#include "core/error.hpp"

// In place of nccl_communicator.cpp, where CUDA or NCCL is missing.
namespace slicereduce {

bool has_nccl() noexcept { return false; }

std::string nccl_version() { return ""; }

void prefer_reproducible_nccl() {}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& /*control*/,
                                                     const NcclConfig& /*config*/) {
  throw Error(ErrorKind::invariant, "this build has no NCCL");
}

}  // namespace slicereduce
