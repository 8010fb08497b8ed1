#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace slicereduce {

/// Descriptions in lines that fit, and examples below each command's options.
void set_up_help(CLI::App& program);

/// What is wrong with a command line, in one line: an argument that `program` does not know, with the one
/// that may be meant, before what else is missing.
[[nodiscard]] std::string explain(const CLI::App& program, const CLI::ParseError& problem);

}  // namespace slicereduce
