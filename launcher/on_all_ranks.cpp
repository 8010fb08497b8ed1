#include <malloc.h>

#include <chrono>
#include <cstdlib>
#include <optional>

#include "comm/mpi_communicator.hpp"
#include "core/text.hpp"
#include "launcher/commands.hpp"
#include "launcher/consensus.hpp"
#include "launcher/deadline.hpp"
#include "launcher/message_of.hpp"

namespace slicereduce {

namespace {

/// A step frees and allocates the same activations again and again. glibc hands blocks of that size back to
/// the kernel, and every step pays for their pages anew: 12 to 16 % of a ResNet-18 step (64x64, batch 16, one
/// thread; scripts/bench/step_time).
void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kLimit = 1 << 30;
  constexpr int kMostOfOldOnes = 32 << 20;  // of glibc's before 2.36
  if (mallopt(M_MMAP_THRESHOLD, kLimit) == 1 || mallopt(M_MMAP_THRESHOLD, kMostOfOldOnes) == 1) {
    mallopt(M_TRIM_THRESHOLD, kLimit);
  }
#endif
}

// MPI waits for all ranks where it starts and ends, and takes no time-out for it. Large clusters need minutes
// to start; at the end all that is left to do was done.
constexpr std::chrono::seconds kLongestStart{600};
constexpr std::chrono::seconds kLongestEnd{60};

/// Ends this process, and so all others: mpirun and srun see it fail.
std::function<void()> missed(const char* what, std::chrono::seconds limit) {
  return [what, limit] {
    const int rank = rank_from_environment();
    Log::to_stderr(rank).error(concat("rank ", rank, ": MPI did not ", what, " within ", limit.count(),
                                      " s: another rank stands still, or its machine or link is down"));
    std::_Exit(static_cast<int>(ExitCode::failed));
  };
}

}  // namespace

ExitCode on_all_ranks(Arguments arguments,
                      const std::function<ExitCode(const MpiSession&, MpiCommunicator&, const Log&)>& work) {
  keep_freed_memory();
  std::optional<Deadline> start(std::in_place, kLongestStart, missed("start", kLongestStart));
  std::optional<Deadline> end;
  const MpiSession session(arguments.count, arguments.values);
  const Log log = Log::to_stderr(session.rank());
  MpiCommunicator communicator(session.world(), node_to_reduce_on(session.world()));
  start.reset();
  communicator.reduce_in_levels(false);  // until a command is told otherwise
  ExitCode code = ExitCode::done;
  try {
    code = work(session, communicator, log);
  } catch (const SharedError& error) {
    if (session.rank() == 0) {
      log.error(error.what());
    }
    code = error.exit_code();
  } catch (const std::exception& error) {
    log.error(message_of(error));
    const auto* ours = dynamic_cast<const Error*>(&error);
    code = ours != nullptr ? ours->exit_code() : ExitCode::failed;
    if (session.world_size() > 1) {
      session.abort(static_cast<int>(code));  // the others wait for this rank, and don't know why
    }
  }
  end.emplace(kLongestEnd, missed("end", kLongestEnd));  // until MPI has ended
  communicator.close();
  return code;
}

}  // namespace slicereduce
