#include "launcher/checkpoint.hpp"

#include <algorithm>
#include <sstream>
#include <system_error>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "models/weights.hpp"

namespace slicereduce {

namespace {

constexpr int kFormat = 2;
constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kSuffix = ".ckpt";
constexpr std::string_view kBest = "best.ckpt";

std::filesystem::path file_of_step(const std::filesystem::path& folder, std::int64_t step) {
  std::string digits = std::to_string(step);
  digits.insert(0, digits.size() < 8 ? 8 - digits.size() : 0, '0');
  return folder / concat(kPrefix, digits, kSuffix);
}

/// By step, which has more than eight digits in a very long run.
std::pair<std::size_t, std::string> place_of(const std::filesystem::path& path) {
  return {path.native().size(), path.native()};
}

/// Of a folder that may not be there yet. Throws Error where it can't be read: as if it were empty, a run
/// would begin anew over what is there.
std::vector<std::filesystem::path> paths_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  std::error_code problem;
  for (auto entry = std::filesystem::directory_iterator(folder, problem);
       !problem && entry != std::filesystem::directory_iterator(); entry.increment(problem)) {
    paths.push_back(entry->path());
  }
  if (problem && problem != std::errc::no_such_file_or_directory) {
    const bool stays_so = problem == std::errc::not_a_directory || problem == std::errc::permission_denied;
    throw Error(stays_so ? ErrorKind::input : ErrorKind::io,
                concat("cannot list ", folder.string(), ": ", problem.message(), " (--run-dir)"));
  }
  return paths;
}

/// A folder's name in the options need not be UTF-8, and must not cost the checkpoint.
std::string text_of(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

nlohmann::ordered_json Manifest::to_json() const {
  return {{"format", kFormat},
          {"version", version},
          {"arch", arch},
          {"coupling", coupling},
          {"sample_classifier", sample_classifier},
          {"in_channels", in_channels},
          {"num_classes", num_classes},
          {"image_size", image_size},
          {"seed", seed},
          {"step", step},
          {"steps_per_epoch", steps_per_epoch},
          {"images_per_step", images_per_step},
          {"world_size", world_size},
          {"mode", mode},
          {"ratio", ratio},
          {"slice_ratio", slice_ratio},
          {"products_ratio", products_ratio},
          {"settles", settles},
          {"top1", top1},
          {"best_top1", best_top1},
          {"options", options}};
}

Manifest Manifest::from_json(const std::string& text, const std::string& where) {
  constexpr std::size_t kMost = std::size_t{1} << 20;  // it is a few kilobytes
  if (text.size() > kMost) {
    throw Error(ErrorKind::input, concat(where, ": its manifest has ", text.size(), " bytes"));
  }
  try {
    const auto json = nlohmann::json::parse(text);
    if (!json.at("format").is_number_integer() || json.at("format") != kFormat) {
      throw Error(ErrorKind::input, concat(where, " has another format than ", kFormat,
                                           ", which this program reads: written by another version?"));
    }
    Manifest manifest{
        .version = json.at("version"),
        .arch = json.at("arch"),
        .coupling = json.at("coupling"),
        .sample_classifier = json.at("sample_classifier"),
        .in_channels = json.at("in_channels"),
        .num_classes = json.at("num_classes"),
        .image_size = json.at("image_size"),
        .seed = json.at("seed"),
        .step = json.at("step"),
        .world_size = json.at("world_size"),
        .steps_per_epoch = json.at("steps_per_epoch"),
        .images_per_step = json.value("images_per_step", std::int64_t{0}),  // newer than the others
        .mode = json.at("mode"),
        .ratio = json.at("ratio"),
        .slice_ratio = json.at("slice_ratio"),
        .products_ratio = json.value("products_ratio", 1.0),  // newer than the others
        .settles = json.at("settles"),
        .top1 = json.at("top1"),
        .best_top1 = json.at("best_top1"),
        .options = json.at("options")};
    for (const std::string* name : {&manifest.arch, &manifest.coupling, &manifest.mode, &manifest.version}) {
      if (*name != printable(*name)) {
        throw Error(ErrorKind::input, concat(where, ": its manifest has the name '", printable(*name), "'"));
      }
    }
    manifest.require_ranges(where);
    return manifest;
  } catch (const nlohmann::json::exception& problem) {
    throw Error(ErrorKind::input, concat(where, ": its manifest can't be read: ", problem.what()));
  }
}

/// What is counted with, or memory taken for, before tensors are compared with it.
void Manifest::require_ranges(const std::string& where) const {
  const auto in_range = [&](const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most) {
      throw Error(ErrorKind::input, concat(where, ": its manifest has ", name, " = ", value,
                                           ", expected at least ", least, " and at most ", most));
    }
  };
  constexpr std::int64_t kMany = 10'000'000;
  constexpr std::int64_t kMostSteps = std::int64_t{1} << 50;
  in_range("in_channels", in_channels, 1, 4096);
  in_range("num_classes", num_classes, 1, kMany);
  in_range("world_size", world_size, 1, kMany);
  in_range("step", step, 0, kMostSteps);
  in_range("steps_per_epoch", steps_per_epoch, 0, kMostSteps);
  in_range("images_per_step", images_per_step, 0, kMostSteps);
}

Layout Manifest::layout() const {
  return make_layout(make_architecture(arch, in_channels, num_classes), parse_coupling(coupling),
                     sample_classifier);
}

StateDict state_by_slot(const std::vector<at::Tensor>& tensors) {
  StateDict state;
  for (std::size_t slot = 0; slot < tensors.size(); ++slot) {
    if (tensors[slot].defined()) {
      state.emplace_back(concat("slot", slot), tensors[slot]);
    }
  }
  return state;
}

std::vector<at::Tensor> tensors_by_slot(const StateDict& state, std::size_t count) {
  std::vector<at::Tensor> tensors(state.empty() ? 0 : count);
  for (std::size_t slot = 0; slot < tensors.size(); ++slot) {
    if (const at::Tensor* found = find_tensor(state, concat("slot", slot))) {
      tensors[slot] = found->clone();
    }
  }
  return tensors;
}

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  write_checkpoint(path, {.sections = {{"weights", checkpoint.weights},
                                       {"momentum", checkpoint.momentum},
                                       {"statistics", checkpoint.statistics},
                                       {"recalibrated", checkpoint.recalibrated},
                                       {"channels", checkpoint.channels},
                                       {"slices", checkpoint.slices},
                                       {"factors", checkpoint.factors},
                                       {"owed", checkpoint.owed}},
                          .manifest = text_of(checkpoint.manifest.to_json())});
}

Checkpoint load_checkpoint(const std::filesystem::path& path, const WantedDebts& wanted) {
  CheckpointReader file(path);
  const auto manifest = Manifest::from_json(file.manifest(), path.string());
  return {
      .manifest = manifest,
      .weights = file.load("weights"),
      .momentum = file.load("momentum"),
      .statistics = file.load("statistics"),
      .recalibrated = file.load("recalibrated"),
      .channels = file.load("channels"),
      .slices = file.load("slices"),
      .factors = file.load("factors"),
      .owed = file.load("owed", [&](std::string_view name) { return !wanted || wanted(manifest, name); })};
}

Manifest load_manifest(const std::filesystem::path& path) {
  return Manifest::from_json(CheckpointReader(path).manifest(), path.string());
}

LoadedNetwork::LoadedNetwork(Manifest saved, at::Device device)
    : manifest(std::move(saved)),
      network(manifest.layout(), /*seed=*/0, device),
      plan(Plan::full(network.layout().sites)) {}

std::unique_ptr<LoadedNetwork> load_network(const std::filesystem::path& path, at::Device device) {
  const Checkpoint checkpoint = load_checkpoint(path, [](const auto&, auto) { return false; });
  const std::string where = path.string();
  require_parameters(checkpoint.manifest.layout(), checkpoint.weights, where);  // before memory is taken
  auto loaded = std::make_unique<LoadedNetwork>(checkpoint.manifest, device);
  loaded->recalibrated = !checkpoint.recalibrated.empty();
  Network& network = loaded->network;
  load_parameter_tensors(network, network.values(), checkpoint.weights, where);
  load_statistics(network, network.statistics(), checkpoint.statistics, where);
  loaded->exact_statistics = network.statistics().clone();
  if (loaded->recalibrated) {
    load_statistics(network, loaded->exact_statistics, checkpoint.recalibrated, where);
  }
  loaded->plan = plan_from_state(network.layout().sites, checkpoint.channels, where);
  return loaded;
}

CheckpointFolder::CheckpointFolder(std::filesystem::path folder, std::int64_t keep)
    : folder_(std::move(folder)), keep_(keep) {}

std::vector<std::filesystem::path> CheckpointFolder::set_aside_beyond(std::int64_t step) const {
  std::vector<std::filesystem::path> aside;
  for (const auto& path : files()) {
    if (place_of(path) > place_of(file_of_step(folder_, step))) {
      aside.push_back(path);
      aside.back() += ".aside";
      std::error_code problem;
      std::filesystem::rename(path, aside.back(), problem);
      if (problem) {
        throw Error(ErrorKind::io, concat("cannot rename ", path.string(), ": ", problem.message()));
      }
    }
  }
  return aside;
}

void CheckpointFolder::remove_unfinished() const {
  // As core/atomic_file names them: a dot and six characters behind the name to come.
  constexpr std::size_t kBehind = 7;
  std::error_code ignored;
  for (const auto& path : paths_in(folder_)) {
    const std::string name = path.filename().string();
    const std::size_t end = name.size() - std::min(name.size(), kBehind);
    const bool is_ours = name.starts_with(kPrefix) || name.starts_with(kBest);
    if (is_ours && name.substr(0, end).ends_with(kSuffix) && name[end] == '.') {
      std::filesystem::remove_all(path, ignored);
    }
  }
}

std::filesystem::path CheckpointFolder::save(const Checkpoint& checkpoint) const {
  const auto path = file_of_step(folder_, checkpoint.manifest.step);
  save_checkpoint(path, checkpoint);
  const auto all = files();
  std::error_code ignored;  // this one is written
  for (std::size_t i = 0; i + keep_ < all.size(); ++i) {
    std::filesystem::remove(all[i], ignored);
  }
  return path;
}

void CheckpointFolder::make_best(const std::filesystem::path& path) const {
  link_atomically(path, folder_ / kBest);
}

std::optional<std::filesystem::path> CheckpointFolder::newest_valid(
    const std::function<void(const std::string&)>& on_damaged) const {
  auto all = files();
  std::reverse(all.begin(), all.end());
  for (const auto& path : all) {
    try {
      (void)load_manifest(path);
      return path;
    } catch (const Error& problem) {
      if (problem.kind() != ErrorKind::input) {
        // It may be whole, and its disk away for a moment, or this machine without the memory.
        throw Error(problem.kind(), concat(problem.what(),
                                           "; if that stays so, move it away and go on from the "
                                           "one before"));
      }
      on_damaged(problem.what());
    }
  }
  return std::nullopt;
}

std::vector<std::filesystem::path> CheckpointFolder::files() const {
  std::vector<std::filesystem::path> found;
  for (const auto& path : paths_in(folder_)) {
    const std::string name = path.filename().string();
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) {
      found.push_back(path);
    }
  }
  std::ranges::sort(found, {}, place_of);
  return found;
}

}  // namespace slicereduce
