#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <random>

#include "core/device.hpp"
#include "core/text.hpp"
#include "launcher/auto_mode.hpp"
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

/// Collective. What the run that is resumed was told, or chose itself; nothing where none is.
ChosenOptions choice_to_resume(const std::optional<std::filesystem::path>& resume, Communicator& communicator,
                               const ChosenOptions& of_auto) {
  std::string config;
  together(communicator, [&] {
    if (resume && communicator.rank() == 0) {
      config = load_checkpoint(*resume).manifest.options;
    }
  });
  ChosenOptions saved = options_of_config(allgather_texts(communicator, config).front(), "train");
  std::erase_if(saved, [&](const auto& option) { return !of_auto.contains(option.first); });
  return saved;
}

/// Collective. Puts a choice in the place of --mode auto.
void settle_mode(CLI::App& command, const TrainOptions& options, RunRequest& request,
                 Communicator& communicator, const Log& log) {
  ModeChoice choice{
      .options = choice_to_resume(request.resume, communicator, auto_candidates(options).front().chosen()),
      .reasons = {"auto: as it was in the run that is resumed"}};
  if (choice.options.empty()) {
    const InputShape input{.channels = request.data.train->channels(),
                           .size = request.data.transform.image_size,
                           .classes = request.data.train->num_classes()};
    choice = choose_mode(options, input, request.device, communicator, log);
  }
  set_options(command, choice.options);
  request.notes = std::move(choice.reasons);
}

/// `options` are what `command` has parsed into.
ExitCode train(CLI::App& command, TrainOptions& options, const MpiSession& session,
               Communicator& communicator, const Log& log) {
  RunRequest request;
  together(communicator, [&] {
    options.validate();
    refuse_beside_auto(command);
    request.device = choose_device(parse_device_choice(options.step.device), session.local_rank());
    make_current(request.device);
  });
  Facts facts = resolved_options(command);
  drop_local_options(facts);
  require_agreement(communicator, facts);  // before a seed or a file is chosen by options that may differ

  at::set_num_threads(options.step.threads > 0 ? options.step.threads : session.default_threads());
  request.resume = checkpoint_to_resume(options, communicator, log);
  set_options(command, {{"--seed", std::to_string(agree_on_seed(options, request.resume, communicator))}});
  together(communicator,
           [&] { request.data = TrainingData::open(options.data, options.dataset, options.image_size); });
  if (options.chooses_mode()) {
    settle_mode(command, options, request, communicator, log);
  }
  request.options = options;
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
      return on_all_ranks(
          arguments,
          [&](const MpiSession& session, Communicator& communicator, const Log& log) {
            return train(*command, *options, session, communicator, log);
          },
          options->step.hierarchy);
    };
  });
}

}  // namespace slicereduce
