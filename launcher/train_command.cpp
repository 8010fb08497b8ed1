#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <random>

#include "core/device.hpp"
#include "core/text.hpp"
#include "launcher/commands.hpp"
#include "launcher/consensus.hpp"
#include "launcher/resolved_options.hpp"
#include "launcher/trainer.hpp"

namespace slicereduce {

namespace {

volatile std::sig_atomic_t signal_received = 0;  // what a signal handler may write

void note_signal(int number) {
  signal_received = 1;
  // A second one ends the process at once.
  std::signal(number, SIG_DFL);
}

/// What --seed says, or a checkpoint; else rank 0 draws.
std::uint64_t agree_on_seed(const TrainOptions& options, const std::optional<std::filesystem::path>& resume,
                            Communicator& communicator) {
  std::uint64_t seed = 0;
  together(communicator, [&] {
    if (communicator.rank() != 0) {
      return;
    }
    if (options.seed) {
      seed = *options.seed;
    } else if (resume) {
      seed = load_checkpoint(*resume).manifest.seed;
    } else {
      seed = std::random_device{}();
    }
  });
  communicator.broadcast(std::as_writable_bytes(std::span(&seed, 1)), 0);
  return seed;
}

/// Options that may differ between ranks without harm.
void drop_local_options(Facts& facts) {
  for (const char* option : {"--workers", "--data", "--threads", "--run-dir", "--progress"}) {
    facts.erase(option);
  }
}

ExitCode train(CLI::App& command, TrainOptions options, const MpiSession& session, Communicator& communicator,
               const Log& log) {
  RunRequest request{.options = options, .facts = {}, .config = {}, .resume = {}, .stop_requested = {}};
  together(communicator, [&] {
    options.validate();
    request.device = choose_device(parse_device_choice(options.step.device), session.local_rank());
    make_current(request.device);
  });
  Facts facts = resolved_options(command);
  drop_local_options(facts);
  require_agreement(communicator, facts);  // before a seed or a file is chosen by options that may differ

  at::set_num_threads(options.step.threads > 0 ? options.step.threads : session.default_threads());
  request.resume = checkpoint_to_resume(options, communicator, log);
  request.options.seed = agree_on_seed(options, request.resume, communicator);
  CLI::Option* seed = command.get_option("--seed");
  seed->clear();
  seed->add_result(std::to_string(*request.options.seed));
  request.config = config_text(command);
  request.stop_requested = [] { return signal_received != 0; };
  std::signal(SIGTERM, note_signal);
  std::signal(SIGUSR1, note_signal);
  return Trainer(std::move(request), communicator, log).run();
}

}  // namespace

void add_train_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("train", "Train, alone or under mpirun or srun");
  const auto options = std::make_shared<TrainOptions>();
  add_train_options(*command, *options);
  command->callback([command, options, &action] {
    action = [command, options](Arguments arguments) {
      return on_all_ranks(arguments,
                          [&](const MpiSession& session, Communicator& communicator, const Log& log) {
                            return train(*command, *options, session, communicator, log);
                          });
    };
  });
}

}  // namespace slicereduce
