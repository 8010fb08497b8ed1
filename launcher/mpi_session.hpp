#pragma once

#include <mpi.h>

namespace slicereduce {

/// MPI from start to end: the first object of main, so that it outlives every communicator. A plain
/// start without mpirun is a world of one.
class MpiSession {
 public:
  /// At MPI_THREAD_MULTIPLE: gradients travel on a thread of their own. Throws Error(mpi).
  MpiSession(int& argc, char**& argv);
  /// Finalizes; aborts nothing and runs no collective of ours.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  [[nodiscard]] MPI_Comm world() const { return MPI_COMM_WORLD; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int world_size() const { return world_size_; }
  [[nodiscard]] int local_rank() const { return local_rank_; }
  [[nodiscard]] int local_size() const { return local_size_; }
  /// This rank's share of the cores that the machine's ranks may run on between them.
  [[nodiscard]] int default_threads() const;

  /// Ends every rank: for an error that the others do not know of.
  [[noreturn]] void abort(int exit_code) const;

 private:
  int rank_ = 0;
  int world_size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  int local_cores_ = 1;  // that the machine's ranks may run on between them
};

/// The rank that mpirun or srun says this process has, before MPI is started; 0 without them.
[[nodiscard]] int rank_from_environment();

}  // namespace slicereduce
