#pragma once

#include <chrono>
#include <functional>

#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "launcher/activity.hpp"
#include "launcher/mpi_session.hpp"

namespace slicereduce {

/// Collective. Does `work` while a watchdog looks after all ranks, and no exchange takes longer than
/// `timeout`: a rank that stands still, and one that fails alone, end all of them with a message that says
/// who it is, where, and at what. The others may still be in an exchange with the one that failed, into
/// memory of its own: what `work` exchanges with should outlive this. `before_the_end` is called first.
/// Throws what `work` throws on all ranks, and in a world of one whatever it throws.
[[nodiscard]] ExitCode run_watched(const MpiSession& session, MpiCommunicator& communicator, const Log& log,
                                   const Activity& activity, std::chrono::milliseconds timeout,
                                   const std::function<ExitCode()>& work,
                                   const std::function<void()>& before_the_end = {});

}  // namespace slicereduce
