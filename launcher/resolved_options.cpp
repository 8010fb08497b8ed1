#include "launcher/resolved_options.hpp"

#include <CLI/CLI.hpp>
#include <sstream>
#include <string_view>

#include "core/text.hpp"

namespace slicereduce {

namespace {

std::string value_of(const CLI::Option& option) {
  if (option.get_expected_max() == 0) {  // a flag
    return option.count() > 0 && option.as<bool>() ? "true" : "false";
  }
  if (option.count() == 0) {
    return option.get_default_str();
  }
  if (option.get_expected_max() == 1) {
    return option.results().back();
  }
  std::string list;
  for (const std::string& item : option.results()) {
    list += (list.empty() ? "" : ",") + item;
  }
  return list;
}

constexpr std::string_view kIs = " = ";

bool is_bare(const std::string& value) {
  const bool number = !value.empty() && value.find_first_not_of("0123456789.-+e") == std::string::npos;
  return number || value == "true" || value == "false";
}

}  // namespace

Facts resolved_options(const CLI::App& command) {
  Facts facts;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_configurable() && !option->get_lnames().empty()) {
      facts["--" + option->get_lnames().front()] = value_of(*option);
    }
  }
  return facts;
}

void require_same_options(const CLI::App& command, Communicator& communicator) {
  Facts facts = resolved_options(command);
  for (const char* option : {"--workers", "--data", "--val-data", "--checkpoint", "--weights", "--threads",
                             "--run-dir", "--progress"}) {
    facts.erase(option);
  }
  require_agreement(communicator, facts);
}

std::string config_text(const CLI::App& command) {
  std::string text = concat("[", command.get_name(), "]\n");
  for (const auto& [option, value] : resolved_options(command)) {
    if (!value.empty()) {
      text += concat(option.substr(2), kIs, is_bare(value) ? value : concat('"', value, '"'), "\n");
    }
  }
  return text;
}

void set_options(CLI::App& command, const std::map<std::string, std::string>& values) {
  for (const auto& [name, value] : values) {
    CLI::Option* option = command.get_option(name);
    option->clear();
    option->add_result(value);
    option->run_callback();
  }
}

/// By hand: CLI11's reader of TOML, which a checkpoint's text would meet unasked, takes memory with the
/// square of a section's dots.
std::map<std::string, std::string> options_of_config(const std::string& text, const std::string& command) {
  std::istringstream lines(text);
  std::map<std::string, std::string> options;
  std::string line;
  if (!std::getline(lines, line) || line != concat('[', command, ']')) {
    return options;
  }
  while (std::getline(lines, line)) {
    const std::size_t at = line.find(kIs);
    if (at == std::string::npos) {
      continue;
    }
    std::string value = line.substr(at + kIs.size());
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    options.emplace("--" + line.substr(0, at), value);
  }
  return options;
}

}  // namespace slicereduce
