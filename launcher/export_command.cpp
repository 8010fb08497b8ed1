#include <CLI/CLI.hpp>
#include <iostream>

#include "core/state_dict.hpp"
#include "core/text.hpp"
#include "launcher/checkpoint.hpp"
#include "launcher/commands.hpp"
#include "launcher/version.hpp"
#include "models/weights.hpp"

namespace slicereduce {

namespace {

struct ExportOptions {
  std::string checkpoint;
  std::string output;
  std::string network = "dense";
};

ExitCode export_network(const ExportOptions& options) {
  if (options.network != "dense" && options.network != "sampled") {
    throw Error(ErrorKind::usage, concat("'", options.network, "': expected dense or sampled (--network)"));
  }
  const auto loaded = load_network(options.checkpoint);
  const Manifest& manifest = loaded->manifest;
  if (options.network == "dense") {
    if (!loaded->plan.full() && !loaded->recalibrated) {
      std::cerr << "slicereduce: note: the checkpoint has no batch norm statistics of the dense network; "
                   "those of the "
                   "sampled one are written\n";
    }
    write_state_dict(options.output, network_state(loaded->network, loaded->exact_statistics, manifest.step));
  } else {
    write_state_dict(
        options.output,
        sampled_state(loaded->network, loaded->plan, loaded->network.statistics(), manifest.step),
        {{"meta.arch", manifest.arch},
         {"meta.coupling", manifest.coupling},
         {"meta.num_classes", manifest.num_classes},
         {"meta.in_channels", manifest.in_channels},
         {"meta.version", std::string(kVersion)}});
  }
  std::cout << options.output << '\n';
  return ExitCode::done;
}

}  // namespace

void add_export_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "export", "Write a checkpoint's weights for PyTorch: torch.load(FILE, weights_only=True)");
  const auto o = std::make_shared<ExportOptions>();
  command->add_option("checkpoint", o->checkpoint, "Checkpoint of a run")->required();
  command->add_option("output", o->output, "File to write")->required();
  command->add_option(
      "--network", o->network,
      "dense: a state_dict that torchvision takes; sampled: the compact network and its channels");
  command->callback([o, &action] { action = [o](Arguments) { return export_network(*o); }; });
}

}  // namespace slicereduce
