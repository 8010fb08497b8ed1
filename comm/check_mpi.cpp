#include "comm/check_mpi.hpp"

#include <mpi.h>

#include <array>
#include <string>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) {
    return;
  }
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) {
    length = 0;
  }
  throw Error(ErrorKind::mpi, concat(call, " failed with code ", code, ": ",
                                     std::string(text.data(), static_cast<std::size_t>(length)),
                                     "; see the other ranks' messages for the rank that failed first"));
}

}  // namespace slicereduce
