#include <CLI/CLI.hpp>
#include <iostream>

#include "core/error.hpp"
#include "launcher/commands.hpp"
#include "launcher/help.hpp"
#include "launcher/message_of.hpp"
#include "launcher/versions.hpp"

namespace slicereduce {
namespace {

int run(int argc, char** argv) {
  CLI::App program(
      "Trains residual networks on many workers, which send two thin factors of each gradient. With\n"
      "--mode compact each step trains the small network of the channels that it samples.");
  program.set_version_flag("--version", version_text, "The versions of this program and its libraries");
  program.set_config("--config", "", "Read options from a TOML file, such as a run's config.toml");
  program.allow_config_extras(CLI::config_extras_mode::error);
  program.require_subcommand(1);
  program.fallthrough();
  program.option_defaults()->always_capture_default()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  Action action;
  add_train_command(program, action);
  add_eval_command(program, action);
  add_plan_command(program, action);
  add_bench_command(program, action);
  add_inspect_command(program, action);
  add_export_command(program, action);
  add_pack_command(program, action);
  add_completion_command(program, action);
  set_up_help(program);
  const bool speaks = rank_from_environment() == 0;
  try {
    program.parse(argc, argv);
    return static_cast<int>(action(Arguments{.count = argc, .values = argv}));
  } catch (const CLI::ParseError& problem) {
    if (problem.get_exit_code() == 0) {
      return speaks ? program.exit(problem) : 0;  // --help, --version
    }
    if (speaks) {
      std::cerr << "slicereduce: " << explain(program, problem) << '\n';
    }
    return static_cast<int>(ExitCode::bad_input);
  } catch (const Error& problem) {
    if (speaks) {
      std::cerr << "slicereduce: " << problem.what() << '\n';
    }
    return static_cast<int>(problem.exit_code());
  } catch (const std::exception& problem) {
    std::cerr << "slicereduce: " << message_of(problem) << '\n';
    return static_cast<int>(ExitCode::failed);
  }
}

}  // namespace
}  // namespace slicereduce

int main(int argc, char** argv) { return slicereduce::run(argc, argv); }
