#include "launcher/mpi_session.hpp"

#include <bitset>
#include <cstdlib>
#include <string>

#include "comm/mpi_communicator.hpp"
#include "core/device.hpp"
#include "core/error.hpp"

namespace slicereduce {

namespace {

/// Collective. Launchers bind each rank to cores of its own, or to none: the union is right for both.
int count_cores(MPI_Comm node) {
  std::bitset<4096> cores;
  for (const int core : usable_cores()) {
    cores.set(static_cast<std::size_t>(core) % cores.size());
  }
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &cores, sizeof cores, MPI_BYTE, MPI_BOR, node), "MPI_Allreduce");
  return static_cast<int>(cores.count());
}

}  // namespace

MpiSession::MpiSession(int& argc, char**& argv) {
  prefer_measured_algorithms();
  int provided = 0;
  check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_MULTIPLE) {
    throw Error(ErrorKind::mpi,
                "this MPI does not offer MPI_THREAD_MULTIPLE, which overlapping reductions need");
  }
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &world_size_), "MPI_Comm_size");
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
            "MPI_Comm_split_type");
  check_mpi(MPI_Comm_rank(node, &local_rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(node, &local_size_), "MPI_Comm_size");
  local_cores_ = count_cores(node);
  check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
}

int MpiSession::default_threads() const { return slicereduce::default_threads(local_cores_, local_size_); }

MpiSession::~MpiSession() { MPI_Finalize(); }

void MpiSession::abort(int exit_code) const {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

int rank_from_environment() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* value = std::getenv(name)) {
      return std::atoi(value);
    }
  }
  return 0;
}

}  // namespace slicereduce
