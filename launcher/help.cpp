#include "launcher/help.hpp"

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr std::size_t kNames = 30;  // columns
constexpr std::size_t kLine = 110;

/// `text` in lines of `width`. CLI11 indents them.
std::string wrapped(const std::string& text, std::size_t width) {
  std::istringstream words(text);
  std::string lines;
  std::size_t used = 0;
  for (std::string word; words >> word;) {
    if (used > 0 && used + 1 + word.size() > width) {
      lines += '\n';
      used = 0;
    }
    lines += concat(used > 0 ? " " : "", word);
    used += word.size() + (used > 0 ? 1 : 0);
  }
  return lines;
}

class WrappedFormatter final : public CLI::Formatter {
 public:
  WrappedFormatter() { column_width(kNames); }
  std::string make_option_desc(const CLI::Option* option) const override {
    return wrapped(CLI::Formatter::make_option_desc(option), kLine - kNames);
  }
};

const std::map<std::string, const char*>& examples() {
  static const std::map<std::string, const char*> kExamples{
      {"train",
       "  slicereduce train --data pictures --arch resnet18                        # one worker\n"
       "  mpirun -np 4 --bind-to none slicereduce train --data pictures --wire bf16 --run-dir runs/a\n"
       "  mpirun -np 4 --bind-to none slicereduce train --config runs/a/config.toml --seed 2 --run-dir "
       "runs/b\n"},
      {"eval",
       "  slicereduce eval --data pictures --checkpoint runs/a/checkpoints/best.ckpt --network both\n"
       "  slicereduce eval --data pictures --weights resnet18.pt --arch resnet18\n"},
      {"plan",
       "  slicereduce plan --arch resnet50 --wire bf16 --plot\n"
       "  slicereduce plan --arch resnet50 --wire bf16 --mode compact --compare 0.5,0.33,0.25 --sweep\n"},
      {"bench", "  mpirun -np 2 --bind-to none slicereduce bench step --arch resnet18 --wire bf16\n"},
      {"allreduce",
       "  mpirun -np 4 --bind-to none slicereduce bench allreduce --sizes 1,10,100 --wires bf16\n"},
      {"step",
       "  slicereduce bench step --arch resnet50 --mode compact --wire bf16 --json > compact.json\n"
       "  mpirun -np 2 --bind-to none slicereduce bench step --arch resnet18 --batch-size 64\n"},
      {"loader", "  slicereduce bench loader --data pictures --workers 4\n"},
      {"inspect", "  slicereduce inspect runs/a/checkpoints/best.ckpt\n"},
      {"export", "  slicereduce export runs/a/checkpoints/best.ckpt resnet18.pt --network sampled\n"},
      {"pack", "  slicereduce pack pictures shards --short-side 256\n"},
  };
  return kExamples;
}

void add_examples(CLI::App& command) {
  const auto found = examples().find(command.get_name());
  if (found != examples().end()) {
    command.footer(
        concat("Options can be in a file, too: --config FILE, such as a run's config.toml\n\nExamples:\n",
               found->second));
  }
  for (CLI::App* sub : command.get_subcommands(nullptr)) {
    add_examples(*sub);
  }
}

/// The command that was given last: the one that is meant.
const CLI::App& innermost(const CLI::App& program) {
  const auto given = program.get_subcommands();
  return given.empty() ? program : innermost(*given.back());
}

std::string full_name(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr ? "slicereduce" : concat(full_name(*parent), ' ', command.get_name());
}

std::vector<std::string> known_to(const CLI::App& command, bool options) {
  std::vector<std::string> names;
  if (!options) {
    for (const CLI::App* sub : command.get_subcommands(nullptr)) {
      names.push_back(sub->get_name());
    }
    return names;
  }
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        names.push_back("--" + name);
      }
    }
  }
  return names;
}

std::string unknown(const std::string& argument, const CLI::App& command) {
  const bool is_option = argument.starts_with("-");
  const std::string name = argument.substr(0, argument.find('='));
  const auto names = known_to(command, is_option);
  const std::string near = nearest(name, names);
  const char* what = is_option ? "option" : names.empty() ? "argument" : "command";
  return concat("unknown ", what, " '", printable(name), "' of ", full_name(command),
                near.empty() ? "" : concat(": did you mean ", near, "?"), " (", full_name(command),
                " --help lists all)");
}

}  // namespace

void set_up_help(CLI::App& program) {
  const auto formatter = std::make_shared<WrappedFormatter>();
  const auto apply = [&](const auto& self, CLI::App& command) -> void {
    command.formatter(formatter);
    for (CLI::App* sub : command.get_subcommands(nullptr)) {
      self(self, *sub);
    }
  };
  apply(apply, program);
  add_examples(program);
}

std::string explain(const CLI::App& program, const CLI::ParseError& problem) {
  const CLI::App& command = innermost(program);
  for (const std::string& argument : program.remaining(/*recurse=*/true)) {
    if (argument.starts_with("-") || !command.get_subcommands(nullptr).empty()) {
      return unknown(argument, command);
    }
  }
  return concat(problem.what(), " (", full_name(command), " --help)");
}

}  // namespace slicereduce
