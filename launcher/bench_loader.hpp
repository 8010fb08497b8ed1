#pragma once

#include "launcher/commands.hpp"

namespace slicereduce {

/// Adds `bench loader` to `bench`; it sets `action`.
void add_bench_loader(CLI::App& bench, Action& action);

}  // namespace slicereduce
