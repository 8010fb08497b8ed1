#include <CLI/CLI.hpp>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/text.hpp"
#include "launcher/checkpoint.hpp"
#include "launcher/commands.hpp"

namespace slicereduce {

namespace {

nlohmann::ordered_json tensor_json(const at::Tensor& tensor) {
  return {{"sizes", tensor.sizes().vec()},
          {"dtype", c10::toString(tensor.scalar_type())},
          {"norm", tensor.to(at::kDouble).norm().item<double>()}};
}

void print_section(const std::string& name, const StateDict& tensors) {
  std::int64_t values = 0;
  for (const auto& [key, tensor] : tensors) {
    values += tensor.numel();
  }
  std::cout << name << ": " << tensors.size() << " tensors, " << values << " values\n";
}

void print_weights(const StateDict& weights) {
  for (const auto& [name, tensor] : weights) {
    std::cout << "  " << std::left << std::setw(36) << printable(name) << std::setw(20)
              << concat(tensor.sizes()) << "norm " << tensor.to(at::kDouble).norm().item<double>() << '\n';
  }
}

ExitCode inspect(const std::string& file, bool json, bool tensors) {
  const Checkpoint checkpoint = load_checkpoint(file);
  const std::vector<std::pair<std::string, const StateDict*>> sections{
      {"weights", &checkpoint.weights},       {"momentum", &checkpoint.momentum},
      {"statistics", &checkpoint.statistics}, {"recalibrated", &checkpoint.recalibrated},
      {"channels", &checkpoint.channels},     {"slices", &checkpoint.slices},
      {"factors", &checkpoint.factors},       {"owed", &checkpoint.owed}};
  if (json) {
    nlohmann::ordered_json out{{"manifest", checkpoint.manifest.to_json()}};
    for (const auto& [name, section] : sections) {
      out[name] = nlohmann::ordered_json::object();
      for (const auto& [key, tensor] : *section) {
        out[name][key] = tensor_json(tensor);
      }
    }
    std::cout << out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
    return ExitCode::done;
  }
  const nlohmann::ordered_json manifest = checkpoint.manifest.to_json();
  for (const auto& [key, value] : manifest.items()) {
    if (key != "options") {
      std::cout << key << ": " << value.dump() << '\n';
    }
  }
  for (const auto& [name, section] : sections) {
    print_section(name, *section);
  }
  if (tensors) {
    print_weights(checkpoint.weights);
  }
  std::cout << '\n';
  std::istringstream options(checkpoint.manifest.options);
  for (std::string line; std::getline(options, line);) {
    std::cout << printable(line) << '\n';
  }
  return ExitCode::done;
}

}  // namespace

void add_inspect_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("inspect", "Look into a checkpoint");
  const auto file = std::make_shared<std::string>();
  const auto json = std::make_shared<bool>(false);
  const auto tensors = std::make_shared<bool>(false);
  command->add_option("file", *file, "Checkpoint of a run")->required();
  command->add_flag("--json", *json, "One JSON object, with every tensor");
  command->add_flag("--tensors", *tensors, "List the weights too");
  command->callback([=, &action] { action = [=](Arguments) { return inspect(*file, *json, *tensors); }; });
}

}  // namespace slicereduce
