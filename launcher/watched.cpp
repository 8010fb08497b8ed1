#include "launcher/watched.hpp"

#include <string>
#include <thread>
#include <utility>

#include "core/host_name.hpp"
#include "core/text.hpp"
#include "launcher/consensus.hpp"
#include "launcher/message_of.hpp"
#include "launcher/watchdog.hpp"

namespace slicereduce {

namespace {

/// Ends every rank: the others wait for one that stands still, and so does what would unwind here.
[[nodiscard]] Watchdog::OnSilence end_all(const MpiSession& session, const Log& log) {
  return [&session, log](const std::string& message) {
    log.error(message);
    session.abort(static_cast<int>(ExitCode::failed));
  };
}

/// As long as there is a watchdog, whoever gives up waiting says whom for.
class Explaining {
 public:
  Explaining(const MpiSession& session, MpiCommunicator& communicator, const Watchdog& watchdog, Log log)
      : communicator_(communicator) {
    communicator.on_give_up([&session, &watchdog, log = std::move(log)](const std::string& why) {
      // Another rank may know more: it is given the time to end this process first.
      constexpr std::chrono::seconds kForOthers{2};
      std::this_thread::sleep_for(kForOthers);
      const std::string whom = watchdog.whom_they_wait_for();
      const std::string nobody =
          concat("; rank ", session.rank(), " (of ", host_name(), ") knows of nobody who is late");
      log.error(why + (whom.empty() ? nobody : whom));
      session.abort(static_cast<int>(ExitCode::failed));
    });
  }
  ~Explaining() { communicator_.on_give_up({}); }
  Explaining(const Explaining&) = delete;
  Explaining& operator=(const Explaining&) = delete;

 private:
  MpiCommunicator& communicator_;
};

/// Once it has a step, what can't be read was there before: another start may find it again, so it is no exit
/// code of bad input.
ErrorKind kind_of(const std::exception& problem, const Activity& activity) {
  const auto* ours = dynamic_cast<const Error*>(&problem);
  const ErrorKind kind = ours != nullptr ? ours->kind() : ErrorKind::io;
  const bool is_bad_input = kind == ErrorKind::input || kind == ErrorKind::usage;
  return is_bad_input && activity.beat().step > 0 ? ErrorKind::io : kind;
}

}  // namespace

ExitCode run_watched(const MpiSession& session, MpiCommunicator& communicator, const Log& log,
                     const Activity& activity, std::chrono::milliseconds timeout,
                     const std::function<ExitCode()>& work, const std::function<void()>& before_the_end) {
  communicator.set_timeout(timeout);
  const Watchdog watchdog(session.world(), communicator, activity, timeout, end_all(session, log));
  const Explaining explaining(session, communicator, watchdog, log);
  try {
    return work();
  } catch (const SharedError&) {
    throw;
  } catch (const std::exception& problem) {  // of this rank alone
    if (communicator.world_size() == 1) {
      throw Error(kind_of(problem, activity), message_of(problem));
    }
    const Error error(kind_of(problem, activity),
                      concat(watchdog.describe_self(), ": ", message_of(problem)));
    log.error(error.what());
    if (before_the_end) {
      before_the_end();
    }
    session.abort(static_cast<int>(error.exit_code()));
  }
}

}  // namespace slicereduce
