#include <ATen/Parallel.h>
#include <torch/version.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "core/device.hpp"
#include "core/digest.hpp"
#include "core/text.hpp"
#include "imagenet/epoch_order.hpp"
#include "launcher/auto_mode.hpp"
#include "launcher/command_line.hpp"
#include "launcher/commands.hpp"
#include "launcher/consensus.hpp"
#include "launcher/link_probe.hpp"
#include "launcher/reduction.hpp"
#include "launcher/resolved_options.hpp"
#include "launcher/trainer.hpp"
#include "launcher/version.hpp"
#include "launcher/watched.hpp"

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
      seed = load_manifest(*resume).seed;
    } else {
      seed = std::random_device{}();
    }
  });
  communicator.broadcast(std::as_writable_bytes(std::span(&seed, 1)), 0);
  return seed;
}

/// Collective. The options of the run that is resumed; nothing where none is.
ChosenOptions options_to_resume(const std::optional<std::filesystem::path>& resume,
                                Communicator& communicator) {
  std::string config;
  together(communicator, [&] {
    if (resume && communicator.rank() == 0) {
      config = load_manifest(*resume).options;
    }
  });
  return options_of_config(allgather_texts(communicator, config).front(), "train");
}

/// What the other run was told or chose itself, of what mode auto chooses.
ModeChoice choice_of(const ChosenOptions& saved, const TrainOptions& options) {
  for (const char* schedule : {"--mode-schedule", "--ratio-schedule"}) {
    if (saved.contains(schedule)) {
      throw Error(ErrorKind::usage, concat("the run to resume has ", schedule, " ", saved.at(schedule),
                                           ", and mode auto has no schedule: resume it without --mode auto"));
    }
  }
  ModeChoice choice{.options = auto_candidates(options).front().chosen(),
                    .reasons = {"auto: as it was in the run that is resumed:"}};
  // A run of an earlier version has a ratio beside mode dense, which has no use for it.
  static const std::set<std::string> of_sampling{"--sample-ratio",     "--sampler",       "--minimal-k",
                                                 "--channel-multiple", "--channel-block", "--resample-every",
                                                 "--anneal-steps",     "--coupling"};
  const auto mode = saved.find("--mode");
  const bool dense = mode != saved.end() && mode->second == "dense";
  for (auto& [option, value] : choice.options) {
    if (const auto found = saved.find(option);
        found != saved.end() && !(dense && of_sampling.contains(option))) {
      value = found->second;
    }
    choice.reasons.front() += concat(" ", option, " ", value);
  }
  return choice;
}

/// Collective. Puts a choice in the place of --hierarchy auto.
void settle_levels(CLI::App& command, const TrainOptions& options, const ChosenOptions& saved,
                   RunRequest& request, MpiCommunicator& communicator) {
  const auto timeout = reducer_config(options.network, options.step).timeout;
  const bool stays = options.step.hierarchy == "auto" && saved.contains("--hierarchy");
  together(communicator, [&] { validate_hierarchy(stays ? saved.at("--hierarchy") : "auto"); });
  const HierarchyChoice choice =
      settle_hierarchy(communicator, stays ? saved.at("--hierarchy") : options.step.hierarchy, timeout);
  set_options(command, {{"--hierarchy", choice.value}});
  if (!choice.reason.empty()) {
    request.notes.push_back(choice.reason);
  }
}

/// Collective. Puts a choice in the place of --mode auto.
void settle_mode(CLI::App& command, const TrainOptions& options, const ChosenOptions& saved,
                 RunRequest& request, Communicator& communicator, const Log& log) {
  ModeChoice choice;
  if (saved.empty()) {
    const InputShape input{.channels = request.data.train->channels(),
                           .size = request.data.transform.image_size,
                           .classes = request.data.train->num_classes()};
    TrainOptions timed = options;
    timed.step = options.step_of_worker(communicator.world_size());
    choice = choose_mode(timed, input, request.device, communicator, log);
  } else {
    together(communicator, [&] { choice = choice_of(saved, options); });
  }
  together(communicator, [&] {  // with what a resumed run brings
    set_options(command, choice.options);
    options.validate();
    options.require_world(communicator.world_size());
  });
  std::ranges::copy(choice.reasons, std::back_inserter(request.notes));
}

/// What has to be the same before ranks compute anything together.
Facts facts_of(const RunRequest& request) {
  return {{"program version", kVersion},
          {"LibTorch version", TORCH_VERSION},
          {"device type", c10::DeviceTypeName(request.device.type())},
          {"training data", to_hex(request.data.train->fingerprint())},
          {"validation data", to_hex(request.data.validation->fingerprint())}};
}

/// Collective. Makes of the options, and of what is there to resume, what a run is asked for; and where
/// gradients are reduced by another communicator, `on_device`.
void settle(CLI::App& command, TrainOptions& options, const MpiSession& session,
            MpiCommunicator& communicator, const Log& log, RunRequest& request,
            std::unique_ptr<Communicator>& on_device) {
  together(communicator, [&] {
    if (!options.chooses_mode()) {
      options.step.settle_reduction(communicator.world_size());
      request.notes.push_back(concat("reduce=", options.step.reduce));
    }
    options.require_world(communicator.world_size());
    refuse_beside_auto(command);
    request.device = choose_device(parse_device_choice(options.step.device), session.local_rank());
    require_backend(options.step, request.device);
    make_current(request.device, parse_cudnn(options.step.cudnn));
  });
  request.faults.strike(request.activity->beat());
  // Before a seed or a file is chosen by options that may differ.
  require_same_options(command, communicator);

  at::set_num_threads(options.step.threads > 0 ? options.step.threads : session.default_threads());
  together(communicator, [&] {  // before a checkpoint is chosen, which the run that is there may move
    if (communicator.rank() == 0 && RunDirectory(options.run_dir).has_run()) {
      request.lock = RunDirectory(options.run_dir).lock();
    }
  });
  request.resume = checkpoint_to_resume(options, communicator, log);
  set_options(command, {{"--seed", std::to_string(agree_on_seed(options, request.resume, communicator))}});
  together(communicator, [&] {
    request.data =
        TrainingData::open(options.data, options.val_data, options.dataset, options.image_size, log);
    request.data.transform.decode = parse_decode(options.decode);
    // Refuses a global batch that can't be, before anything is timed.
    const int world_size = communicator.world_size();
    (void)EpochOrder(request.data.train->size(), options.images_per_step(world_size), world_size, /*seed=*/0);
    require_image_side(make_architecture(options.network.arch, 3, 10, options.network.dropout),
                       request.data.transform.image_size);
  });
  require_agreement(communicator, facts_of(request));
  const ChosenOptions saved = options_to_resume(request.resume, communicator);
  settle_levels(command, options, saved, request, communicator);
  on_device = make_device_communicator(communicator, options.step, request.device);
  if (on_device) {
    request.notes.emplace_back("backend=nccl");
  }
  if (options.chooses_mode()) {
    settle_mode(command, options, saved, request, on_device ? *on_device : communicator, log);
    options.step.settle_reduction(communicator.world_size());  // of a run that is resumed
  }
  request.options = options;
  request.config = config_text(command);
}

constexpr std::chrono::seconds kForTheWatchdog{5};

/// `options` are what `command` has parsed into.
ExitCode train(CLI::App& command, TrainOptions& options, const MpiSession& session,
               MpiCommunicator& communicator, const Log& log) {
  RunRequest request;
  std::signal(SIGTERM, note_signal);
  std::signal(SIGUSR1, note_signal);
  request.stop_requested = [] { return signal_received != 0; };
  together(communicator, [&] { options.validate(); });
  request.faults = InjectedFaults(options.inject, communicator.rank(), log);
  const std::shared_ptr<Activity> activity = request.activity;
  const auto timeout = parse_timeout(options.step.timeout_s);
  std::optional<MpiCommunicator> background;
  std::unique_ptr<Communicator> on_device;
  std::optional<Trainer> trainer;
  const auto work = [&] {
    try {
      settle(command, options, session, communicator, log, request, on_device);
      background.emplace(session.world());
      // Who is late is named by the watchdog, which is given the time to.
      background->set_timeout(timeout + kForTheWatchdog);
      background->on_give_up([&](const std::string& why) {  // what is under way has memory of ours
        log.error(concat("gathering what ranks owe, for a checkpoint: ", why));
        session.abort(static_cast<int>(ExitCode::failed));
      });
      trainer.emplace(std::move(request), on_device ? *on_device : communicator, *background, log);
      const ExitCode code = trainer->run();
      trainer.reset();
      background->close();
      return code;
    } catch (const SharedError&) {
      trainer.reset();  // all ranks end, but no sooner than its last checkpoint is written
      throw;
    }
  };
  const auto wait_for_checkpoint = [&] {
    if (trainer) {
      trainer->wait_for_checkpoint();
    }
  };
  return run_watched(session, communicator, log, *activity, timeout, work, wait_for_checkpoint);
}

}  // namespace

void add_train_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("train", "Train, alone or under mpirun or srun");
  const auto options = std::make_shared<TrainOptions>();
  add_train_options(*command, *options);
  command->callback([command, options, &action] {
    action = [command, options](Arguments arguments) {
      return on_all_ranks(arguments,
                          [&](const MpiSession& session, MpiCommunicator& communicator, const Log& log) {
                            return train(*command, *options, session, communicator, log);
                          });
    };
  });
}

}  // namespace slicereduce
