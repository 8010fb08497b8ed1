#pragma once

#include <functional>

#include "comm/mpi_communicator.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "launcher/mpi_session.hpp"

namespace CLI {
class App;
}

namespace slicereduce {

/// main's arguments, for MPI to read.
struct Arguments {
  int& count;
  char**& values;
};

/// What the command line asks for, once it is parsed.
using Action = std::function<ExitCode(Arguments)>;

/// Each adds its subcommand, which sets `action`.
void add_train_command(CLI::App& program, Action& action);
void add_eval_command(CLI::App& program, Action& action);
void add_plan_command(CLI::App& program, Action& action);
void add_bench_command(CLI::App& program, Action& action);
void add_inspect_command(CLI::App& program, Action& action);
void add_export_command(CLI::App& program, Action& action);
void add_pack_command(CLI::App& program, Action& action);
void add_completion_command(CLI::App& program, Action& action);

/// Runs `work` between MPI's start and end. An error that all ranks share is printed by rank 0, and all end
/// in order; an error of one rank ends the others too. Returns the exit code.
[[nodiscard]] ExitCode on_all_ranks(
    Arguments arguments,
    const std::function<ExitCode(const MpiSession&, MpiCommunicator&, const Log&)>& work);

}  // namespace slicereduce
