#include <CLI/CLI.hpp>
#include <iostream>
#include <string>

#include "core/error.hpp"
#include "core/text.hpp"
#include "launcher/commands.hpp"

namespace slicereduce {

namespace {

/// What may come behind a command: its own commands and options.
std::string words_of(const CLI::App& command) {
  std::string words;
  for (const CLI::App* sub : command.get_subcommands(nullptr)) {
    words += sub->get_name() + ' ';
  }
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      words += concat("--", name, ' ');
    }
  }
  return words;
}

/// Cases of the script, for a command and those inside it. `name` as they are typed: " bench step".
std::string cases_of(const CLI::App& command, const std::string& name) {
  std::string cases = concat("    '", name, "') words='", words_of(command), "' ;;\n");
  for (const CLI::App* sub : command.get_subcommands(nullptr)) {
    cases += cases_of(*sub, concat(name, ' ', sub->get_name()));
  }
  return cases;
}

/// Options by their names, anything else as a file.
std::string bash_script(const CLI::App& program) {
  return concat(R"(_slicereduce() {
  local word="${COMP_WORDS[COMP_CWORD]}" command='' words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -* ]] && break
    command+=" ${COMP_WORDS[i]}"
  done
  case "${command}" in
)",
                cases_of(program, ""), R"(    *) return ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "${words}" -- "${word}")
}
complete -o default -F _slicereduce slicereduce
)");
}

}  // namespace

void add_completion_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "completion", "A script that completes commands and options: source <(slicereduce completion)");
  command->callback([&program, &action] {
    action = [&program](Arguments) {
      std::cout << bash_script(program);
      return ExitCode::done;
    };
  });
}

}  // namespace slicereduce
