#pragma once

#include <string>

#include "launcher/train_options.hpp"

namespace CLI {
class App;
}

namespace slicereduce {

void add_network_options(CLI::App& app, NetworkOptions& options);
/// --reduce, --powersgd-rank and --bucket-mb alone.
void add_reduction_options(CLI::App& app, StepOptions& options);
void add_hierarchy_option(CLI::App& app, std::string& hierarchy);
void add_step_options(CLI::App& app, StepOptions& options);
/// What --mode auto takes besides the others.
void add_auto_options(CLI::App& app, double& auto_ratio);
/// Throws Error(usage) where `command` was told --mode auto and something that this chooses.
void refuse_beside_auto(const CLI::App& command);
void add_train_options(CLI::App& app, TrainOptions& options);

}  // namespace slicereduce
