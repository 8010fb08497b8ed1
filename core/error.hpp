#pragma once

#include <source_location>
#include <stdexcept>
#include <string>

namespace slicereduce {

/// What went wrong, as far as a caller (or an exit code) has to tell errors apart.
enum class ErrorKind {
  usage,         ///< an option or a combination of options that can't be run
  input,         ///< a file or folder that the user named is missing, damaged or of another kind
  io,            ///< reading or writing failed while running
  mpi,           ///< an MPI call failed
  diverged,      ///< numbers of the training are not finite
  disagreement,  ///< ranks hold different options, data, weights or plans
  invariant,     ///< a bug of this program
};

/// The program's exit codes, as documented in README.
enum class ExitCode : int { done = 0, failed = 1, bad_input = 2, stopped = 3 };

/// The one exception type. Its message says what was attempted, where, and what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message);

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  [[nodiscard]] ExitCode exit_code() const noexcept;

 private:
  ErrorKind kind_;
};

/// Throws Error(invariant) with the caller's place: for what only a bug of ours can cause.
void require(bool condition, const char* what, std::source_location where = std::source_location::current());

}  // namespace slicereduce
