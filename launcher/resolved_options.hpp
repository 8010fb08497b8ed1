#pragma once

#include <string>

#include "launcher/consensus.hpp"

namespace CLI {
class App;
}

namespace slicereduce {

/// Every option of a parsed subcommand with the value in force, given or default, as text.
[[nodiscard]] Facts resolved_options(const CLI::App& command);

/// The same as a section of a TOML file that --config reads.
[[nodiscard]] std::string config_text(const CLI::App& command);

}  // namespace slicereduce
