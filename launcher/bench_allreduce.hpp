#pragma once

#include "launcher/commands.hpp"

namespace slicereduce {

/// Adds `bench allreduce` to `bench`; it sets `action`.
void add_bench_allreduce(CLI::App& bench, Action& action);

}  // namespace slicereduce
