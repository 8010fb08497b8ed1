#include "imagenet/flat_folder_source.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string_view>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "imagenet/decoder.hpp"
#include "imagenet/picture_files.hpp"

namespace slicereduce {

namespace {

constexpr const char* kKaggle = "LOC_val_solution.csv";
constexpr const char* kCaffe = "val.txt";
constexpr const char* kDevelopmentKit = "ILSVRC2012_validation_ground_truth.txt";

/// In val/ or beside it.
std::optional<std::filesystem::path> find_list(const std::filesystem::path& folder, const char* name) {
  for (const auto& path : {folder / "val" / name, folder / name}) {
    if (std::filesystem::is_regular_file(path)) {
      return path;
    }
  }
  return std::nullopt;
}

/// What a list says of each picture: its name, in Kaggle's without extension, and its class.
using Entries = std::map<std::string, std::string>;

/// "NAME CLASS", whatever follows; `separator` is between them.
Entries read_list(const std::filesystem::path& path, char separator) {
  std::ifstream file(path);
  Entries entries;
  for (std::string line; std::getline(file, line);) {
    const std::size_t end = line.find(separator);
    if (end != std::string::npos) {
      const std::string rest = line.substr(end + 1);
      entries[line.substr(0, end)] = rest.substr(0, rest.find_first_of(" \r"));
    }
  }
  return entries;
}

std::vector<std::string> synsets_of(const std::filesystem::path& folder, Entries entries) {
  if (std::filesystem::is_directory(folder / "train")) {
    return folder_names(folder / "train");
  }
  entries.erase("ImageId");  // the head of the table
  std::set<std::string> synsets;
  for (const auto& [name, synset] : entries) {
    synsets.insert(synset);
  }
  return {synsets.begin(), synsets.end()};
}

std::int64_t number(const std::string& text) {
  std::int64_t value = -1;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc() && end == text.data() + text.size() ? value : -1;
}

/// The classes of pictures, by what a list says of them.
struct GroundTruth {
  std::filesystem::path list;
  Entries entries;
  std::int64_t num_classes = 0;
  std::vector<std::string> class_names;  ///< if they are known
  std::function<std::string(const std::string& picture)> name_of;
  std::function<std::int64_t(const std::string& said)> number_of;  ///< negative: none
};

GroundTruth kaggle_list(const std::filesystem::path& folder, const std::filesystem::path& list) {
  GroundTruth truth{.list = list, .entries = read_list(list, ',')};
  const auto synsets = synsets_of(folder, truth.entries);
  truth.num_classes = static_cast<std::int64_t>(synsets.size());
  truth.class_names = synsets;
  truth.name_of = [](const std::string& picture) { return std::filesystem::path(picture).stem().string(); };
  truth.number_of = [synsets](const std::string& said) -> std::int64_t {
    const auto place = std::lower_bound(synsets.begin(), synsets.end(), said);
    return place != synsets.end() && *place == said ? place - synsets.begin() : -1;
  };
  return truth;
}

GroundTruth caffe_list(const std::filesystem::path& folder, const std::filesystem::path& list) {
  GroundTruth truth{.list = list, .entries = read_list(list, ' ')};
  if (std::filesystem::is_directory(folder / "train")) {
    truth.class_names = folder_names(folder / "train");
    truth.num_classes = static_cast<std::int64_t>(truth.class_names.size());
  } else {
    for (const auto& [name, said] : truth.entries) {
      truth.num_classes = std::max(truth.num_classes, number(said) + 1);
    }
  }
  truth.name_of = [](const std::string& picture) { return picture; };
  truth.number_of = number;
  return truth;
}

GroundTruth ground_truth(const std::filesystem::path& folder) {
  if (const auto list = find_list(folder, kKaggle)) {
    return kaggle_list(folder, *list);
  }
  if (const auto list = find_list(folder, kCaffe)) {
    return caffe_list(folder, *list);
  }
  const bool has_numbers = find_list(folder, kDevelopmentKit).has_value();
  throw Error(
      ErrorKind::input,
      concat((folder / "val").string(), " has pictures and no class folders: expected ", kKaggle,
             " (Kaggle) or ", kCaffe, " (Caffe) there or beside it, or a folder for each class in it",
             has_numbers ? concat("; the numbers of ", kDevelopmentKit, " are not those of sorted synsets")
                         : ""));
}

}  // namespace

bool has_flat_validation(const std::filesystem::path& folder) {
  const auto root = folder / "val";
  return std::filesystem::is_directory(root) && folder_names(root).empty() && !picture_names(root).empty();
}

FlatFolderSource::FlatFolderSource(const std::filesystem::path& folder)
    : root_(folder / "val"), names_(picture_names(root_)) {
  const GroundTruth truth = ground_truth(folder);
  num_classes_ = truth.num_classes;
  classes_ = truth.class_names;
  for (const auto& picture : names_) {
    const auto said = truth.entries.find(truth.name_of(picture));
    const std::int64_t label = said == truth.entries.end() ? -1 : truth.number_of(said->second);
    if (label < 0 || label >= num_classes_) {
      throw Error(ErrorKind::input,
                  concat(truth.list.string(), " has ",
                         said == truth.entries.end() ? "no line" : "no class that is known", " for ",
                         (root_ / picture).string(), ": complete the list or remove the picture"));
    }
    labels_.push_back(label);
  }
  fixed_extent_ = sample_extent(*this);
}

std::int64_t FlatFolderSource::label(std::int64_t index) const {
  return labels_.at(static_cast<std::size_t>(index));
}

void FlatFolderSource::read(std::int64_t index, StoredImage& into) const {
  read_picture(root_ / names_.at(static_cast<std::size_t>(index)), into);
}

std::string FlatFolderSource::name(std::int64_t index) const {
  return (root_ / names_.at(static_cast<std::size_t>(index))).string();
}

std::uint64_t FlatFolderSource::fingerprint() const {
  Digest digest;
  digest.add_text("flat");
  for (const auto& name : names_) {
    digest.add_text(name);
  }
  return digest.add_values(std::span<const std::int64_t>(labels_)).value();
}

}  // namespace slicereduce
