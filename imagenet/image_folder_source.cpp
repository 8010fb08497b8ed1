#include "imagenet/image_folder_source.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>
#include <limits>
#include <span>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/input_file.hpp"
#include "core/text.hpp"
#include "imagenet/decoder.hpp"

namespace slicereduce {

namespace {

std::optional<std::filesystem::path> split_folder(const std::filesystem::path& folder, Split split) {
  const std::vector<std::string> names =
      split == Split::train ? std::vector<std::string>{"train"} : std::vector<std::string>{"val", "test"};
  for (const auto& name : names) {
    if (std::filesystem::is_directory(folder / name)) {
      return folder / name;
    }
  }
  return std::nullopt;
}

bool is_hidden(const std::filesystem::path& path) { return path.filename().string().starts_with('.'); }

bool has_picture_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

template <typename Wanted>
std::vector<std::string> sorted_names(const std::filesystem::path& folder, Wanted wanted) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!is_hidden(entry.path()) && wanted(entry)) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> class_folders(const std::filesystem::path& root) {
  return sorted_names(root, [](const auto& entry) { return entry.is_directory(); });
}

void check_same_classes(const std::filesystem::path& root, const std::vector<std::string>& classes,
                        const std::filesystem::path& train_root) {
  const auto train_classes = class_folders(train_root);
  std::vector<std::string> different;
  std::set_symmetric_difference(classes.begin(), classes.end(), train_classes.begin(), train_classes.end(),
                                std::back_inserter(different));
  if (!different.empty()) {
    throw Error(ErrorKind::input, concat("the classes of ", root.string(), " (", classes.size(), ") and ",
                                         train_root.string(), " (", train_classes.size(),
                                         ") differ: ", different.size(), " are in only one of them, first ",
                                         different.front(), "; both need the same class folders"));
  }
}

}  // namespace

bool is_image_folder(const std::filesystem::path& folder) {
  return split_folder(folder, Split::train) || split_folder(folder, Split::validation);
}

ImageFolderSource::ImageFolderSource(const std::filesystem::path& folder, Split split) {
  const auto root = split_folder(folder, split);
  if (!root) {
    throw Error(ErrorKind::input,
                concat("no ", split == Split::train ? "train/" : "val/ or test/", " in ", folder.string(),
                       ": expected a folder for each class in it; check --data"));
  }
  root_ = *root;
  classes_ = class_folders(root_);
  if (classes_.empty()) {
    throw Error(ErrorKind::input, concat(root_.string(), " holds no class folders: expected ", root_.string(),
                                         "/CLASS/*.jpg or *.png"));
  }
  // Evaluating needs no training set, but where there is one it says what the labels mean.
  if (const auto train_root = split_folder(folder, Split::train); split == Split::validation && train_root) {
    check_same_classes(root_, classes_, *train_root);
  }
  list_files();
  fixed_extent_ = sample_extent(*this);
}

void ImageFolderSource::list_files() {
  first_of_class_.push_back(0);
  for (const auto& class_name : classes_) {
    // A link to nothing is listed too, and refused where it is read: a data set that lost files should not
    // quietly be a smaller one.
    const auto names = sorted_names(root_ / class_name, [](const auto& entry) {
      return has_picture_extension(entry.path()) && !entry.is_directory();
    });
    if (names.empty()) {
      throw Error(ErrorKind::input, concat("the class folder ", (root_ / class_name).string(),
                                           " holds no .jpg, .jpeg or .png file: fill or remove it"));
    }
    for (const auto& name : names) {
      names_ += name;
      require(names_.size() <= std::numeric_limits<std::uint32_t>::max(),
              "ImageFolderSource: too many names");
      name_ends_.push_back(static_cast<std::uint32_t>(names_.size()));
    }
    first_of_class_.push_back(static_cast<std::int64_t>(name_ends_.size()));
  }
}

std::string_view ImageFolderSource::file_name(std::int64_t index) const {
  const auto end = name_ends_.at(static_cast<std::size_t>(index));
  const auto begin = index == 0 ? 0 : name_ends_[static_cast<std::size_t>(index - 1)];
  return std::string_view(names_).substr(begin, end - begin);
}

std::filesystem::path ImageFolderSource::path(std::int64_t index) const {
  return root_ / classes_[static_cast<std::size_t>(label(index))] / file_name(index);
}

std::int64_t ImageFolderSource::label(std::int64_t index) const {
  require(index >= 0 && index < size(), "ImageFolderSource: index out of range");
  const auto next = std::upper_bound(first_of_class_.begin(), first_of_class_.end(), index);
  return next - first_of_class_.begin() - 1;
}

void ImageFolderSource::read(std::int64_t index, StoredImage& into) const {
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;
  const InputFile file(path(index));
  if (file.size() > kMostBytes) {
    throw Error(ErrorKind::input, concat("cannot decode ", file.path().string(), ": it has ", file.size(),
                                         " bytes, more than a picture should; replace or remove the file"));
  }
  into.is_file = true;
  into.file.resize(file.size());
  file.read_at(0, into.file);
}

std::uint64_t ImageFolderSource::fingerprint() const {
  Digest digest;
  digest.add_text("imagefolder");
  for (const auto& name : classes_) {
    digest.add_text(name);
  }
  digest.add_values(std::span<const std::int64_t>(first_of_class_)).add_text(names_);
  digest.add_values(std::span<const std::uint32_t>(name_ends_));
  // Asking for the size of each of ImageNet's files takes minutes where its folder lies on a server.
  constexpr std::int64_t kSizes = 1024;
  for (std::int64_t i = 0; i < std::min(kSizes, size()); ++i) {
    const auto file = path(i * size() / std::min(kSizes, size()));
    std::error_code problem;
    const std::array<std::int64_t, 1> bytes{
        static_cast<std::int64_t>(std::filesystem::file_size(file, problem))};
    if (problem) {
      throw Error(ErrorKind::input, concat("cannot read ", file.string(), ": ", problem.message(),
                                           "; restore or remove the file"));
    }
    digest.add_values(std::span<const std::int64_t>(bytes));
  }
  return digest.value();
}

}  // namespace slicereduce
