#pragma once

namespace slicereduce {

/// Throws Error(mpi) with MPI's own text unless `code` is MPI_SUCCESS. `call` is the function's name.
void check_mpi(int code, const char* call);

}  // namespace slicereduce
