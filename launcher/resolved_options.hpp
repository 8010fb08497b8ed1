#pragma once

#include <string>

#include "launcher/consensus.hpp"

namespace CLI {
class App;
}

namespace slicereduce {

/// Every option of a parsed subcommand with the value in force, given or default, as text.
[[nodiscard]] Facts resolved_options(const CLI::App& command);

/// Collective. Throws SharedError(disagreement) unless all ranks were given the same options, but for those
/// that may differ without harm: folders, files to read, threads and what is shown.
void require_same_options(const CLI::App& command, Communicator& communicator);

/// The same as a section of a TOML file that --config reads.
[[nodiscard]] std::string config_text(const CLI::App& command);

/// Sets options as if the command line had said so.
void set_options(CLI::App& command, const std::map<std::string, std::string>& values);

/// The options of a text that config_text() made for `command`, by name; empty where it is no such text.
[[nodiscard]] std::map<std::string, std::string> options_of_config(const std::string& text,
                                                                   const std::string& command);

}  // namespace slicereduce
