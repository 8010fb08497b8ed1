#include "imagenet/image_folder_source.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <span>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "imagenet/decoder.hpp"
#include "imagenet/picture_files.hpp"

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

void check_same_classes(const std::filesystem::path& root, const std::vector<std::string>& classes,
                        const std::filesystem::path& train_root) {
  const auto train_classes = folder_names(train_root);
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
  classes_ = folder_names(root_);
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
    const auto names = picture_names(root_ / class_name);
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

void ImageFolderSource::read(std::int64_t index, StoredImage& into) const { read_picture(path(index), into); }

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
