#include "comm/mpi_communicator.hpp"
#include "launcher/commands.hpp"
#include "launcher/consensus.hpp"

namespace slicereduce {

ExitCode on_all_ranks(Arguments arguments,
                      const std::function<ExitCode(const MpiSession&, Communicator&, const Log&)>& work) {
  const MpiSession session(arguments.count, arguments.values);
  const Log log = Log::to_stderr(session.rank());
  MpiCommunicator communicator(session.world());
  ExitCode code = ExitCode::done;
  try {
    code = work(session, communicator, log);
  } catch (const SharedError& error) {
    if (session.rank() == 0) {
      log.error(error.what());
    }
    code = error.exit_code();
  } catch (const std::exception& error) {
    log.error(error.what());
    const auto* ours = dynamic_cast<const Error*>(&error);
    code = ours != nullptr ? ours->exit_code() : ExitCode::failed;
    if (session.world_size() > 1) {
      session.abort(static_cast<int>(code));  // the others wait for this rank, and don't know why
    }
  }
  communicator.close();
  return code;
}

}  // namespace slicereduce
