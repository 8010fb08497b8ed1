#include "core/error.hpp"

#include "core/text.hpp"

namespace slicereduce {

Error::Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

ExitCode Error::exit_code() const noexcept {
  switch (kind_) {
    case ErrorKind::usage:
    case ErrorKind::input:
    case ErrorKind::disagreement:
      return ExitCode::bad_input;
    case ErrorKind::io:
    case ErrorKind::mpi:
    case ErrorKind::diverged:
    case ErrorKind::invariant:
      break;
  }
  return ExitCode::failed;
}

void require(bool condition, const char* what, std::source_location where) {
  if (condition) {
    return;
  }
  throw Error(ErrorKind::invariant, concat("internal error: ", what, " (", where.file_name(), ":",
                                           where.line(), "); please report this"));
}

}  // namespace slicereduce
