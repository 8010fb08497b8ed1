#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/atomic_file.hpp"
#include "core/choice.hpp"
#include "core/digest.hpp"
#include "core/input_file.hpp"
#include "core/lock_file.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "core/units.hpp"
#include "imagenet/decoder.hpp"
#include "imagenet/open_dataset.hpp"
#include "imagenet/pack.hpp"
#include "launcher/commands.hpp"

namespace slicereduce {

namespace {

struct PackOptions {
  std::string data;
  std::string output;
  std::string split = "both";
  std::string order = "shuffled";
  std::string bad_images = "error";
  int workers = 0;
  PackConfig config;
  bool json = false;

  void settle() {
    config.shuffled = parse_choice<bool>(order, "--order", {{"shuffled", true}, {"sorted", false}});
    config.bad_images = parse_choice<BadImages>(bad_images, "--bad-images",
                                                {{"error", BadImages::error}, {"skip", BadImages::skip}});
    if (workers < 0) {
      throw Error(ErrorKind::usage, concat("workers = ", workers,
                                           ": expected at least 0, which is a thread a core (--workers)"));
    }
    config.threads =
        workers > 0 ? workers : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    (void)splits();
    config.validate();
  }

  [[nodiscard]] std::vector<Split> splits() const {
    return parse_choice<std::vector<Split>>(split, "--split",
                                            {{"both", {Split::train, Split::validation}},
                                             {"train", {Split::train}},
                                             {"val", {Split::validation}}});
  }
};

const char* name_of(Split split) { return split == Split::train ? "train" : "val"; }

/// What the shards of a folder are made of: whoever goes on there must mean the same.
std::string recipe_of(const PackOptions& options, const std::vector<std::unique_ptr<ImageSource>>& sources) {
  nlohmann::ordered_json recipe{{"split", options.split},
                                {"order", options.order},
                                {"per_shard", options.config.per_shard},
                                {"max_side", options.config.max_side},
                                {"short_side", options.config.short_side},
                                {"quality", options.config.quality},
                                {"bad_images", options.bad_images}};
  for (const auto& source : sources) {
    recipe["sources"].push_back(to_hex(source->fingerprint()));
  }
  return recipe.dump(2) + '\n';
}

/// Leaves the recipe in a new folder. Throws Error(input) for one that holds anything else.
void claim_folder(const std::filesystem::path& folder, const std::string& recipe) {
  const std::filesystem::path file = folder / "pack.json";
  if (std::filesystem::exists(file)) {
    const auto bytes = read_whole(file);
    if (!std::ranges::equal(bytes, std::as_bytes(std::span(recipe)))) {
      throw Error(ErrorKind::input,
                  concat(folder.string(),
                         " holds shards of other pictures or options (pack.json): name another folder"));
    }
    return;
  }
  if (std::filesystem::exists(folder) && !std::filesystem::is_empty(folder)) {
    throw Error(ErrorKind::input,
                concat(folder.string(), " is not empty, and nothing is overwritten: name a new folder"));
  }
  std::filesystem::create_directories(folder);
  write_atomically(file, std::as_bytes(std::span(recipe)));
}

/// What a packing that was killed left of shards: AtomicFile puts six letters behind their names.
void remove_unfinished(const std::filesystem::path& folder) {
  constexpr std::string_view kEnding = ".tar.";
  constexpr std::size_t kLetters = 6;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const std::size_t ending = name.rfind(kEnding);
    if (ending != std::string::npos && name.size() == ending + kEnding.size() + kLetters) {
      std::filesystem::remove(entry.path());
    }
  }
}

/// A line a class, in the order of their numbers; nothing where they have no names.
void write_classes(const std::filesystem::path& folder, const ImageSource& source) {
  std::string lines;
  for (const auto& name : source.class_names()) {
    lines += name + '\n';
  }
  if (!lines.empty()) {
    write_atomically(folder / "classes.txt", std::as_bytes(std::span(lines)));
  }
}

nlohmann::ordered_json to_json(const std::string& split, const Packed& packed) {
  return {{"split", split},          {"shards", packed.shards},   {"kept", packed.kept},
          {"images", packed.images}, {"skipped", packed.skipped}, {"bytes", packed.bytes}};
}

ExitCode pack_folder(PackOptions& options) {
  options.settle();
  const Log log = Log::to_stderr(/*rank=*/0);
  const PackReport report{
      .on_shard = [log](const std::string& what) { log.info(what); },
      .on_bad_image = [log](const std::string& why) { log.warn(concat("left out: ", why)); }};
  std::vector<std::unique_ptr<ImageSource>> sources;
  for (const Split split : options.splits()) {
    sources.push_back(open_dataset(DatasetKind::imagefolder, options.data, split));
  }
  if (options.config.bad_images == BadImages::error) {
    std::ranges::for_each(sources, [](const auto& source) { require_decodable_samples(*source); });
  }
  const std::filesystem::path folder = options.output;
  claim_folder(folder, recipe_of(options, sources));
  const LockFile lock(folder / "lock", concat("the folder of shards ", folder.string()), "wait for its end");
  remove_unfinished(folder);
  write_classes(folder, *sources.front());
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const std::string name = name_of(options.splits()[i]);
    const Packed packed = pack(*sources[i], folder, name, options.config, report);
    const std::string text = concat("split=", name, " shards=", packed.shards, " kept=", packed.kept,
                                    " images=", packed.images, " skipped=", packed.skipped, " size=\"",
                                    format_bytes(static_cast<double>(packed.bytes)), "\"");
    std::cout << (options.json ? to_json(name, packed).dump() : text) << std::endl;
  }
  return ExitCode::done;
}

}  // namespace

void add_pack_command(CLI::App& program, Action& action) {
  CLI::App* command =
      program.add_subcommand("pack", "Write an image folder as WebDataset shards, with indices");
  const auto o = std::make_shared<PackOptions>();
  command->add_option("data", o->data, "Image folder: train/CLASS/*.jpg and val/CLASS/*.jpg")->required();
  command->add_option("output", o->output, "New folder, or one that this command was stopped in")->required();
  command->add_option("--split", o->split, "both|train|val");
  command->add_option("--max-side", o->config.max_side, "Shrink pictures to this long side; 0: don't");
  command->add_option("--short-side", o->config.short_side, "Shrink pictures to this short side; 0: don't");
  command->add_option("--quality", o->config.quality, "JPEG quality of pictures that are shrunk");
  command->add_option("--per-shard", o->config.per_shard, "Pictures of a shard");
  command->add_option("--order", o->order,
                      "shuffled: for loaders that shuffle little; sorted: as in the folder");
  command->add_option(
      "--bad-images", o->bad_images,
      "Pictures that can't be read, or decoded to be shrunk: error ends it; skip leaves them out");
  command->add_option("-j,--workers", o->workers,
                      "Threads, of which each writes a shard; 0: as many as cores");
  command->add_flag("--json", o->json, "One JSON object a line");
  command->callback([o, &action] { action = [o](Arguments) { return pack_folder(*o); }; });
}

}  // namespace slicereduce
