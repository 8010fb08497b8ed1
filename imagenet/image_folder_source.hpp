#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// Whether `folder` has the train/, val/ or test/ of an image folder.
[[nodiscard]] bool is_image_folder(const std::filesystem::path& folder);

/// JPEG and PNG files in a folder for each class, as torchvision's ImageFolder has them: classes are
/// numbered in the order of their names. Only names are held in memory, at 4 bytes more than each has
/// letters. Pictures come as RGB.
class ImageFolderSource : public ImageSource {
 public:
  /// Lists train/, or for validation val/ (test/ where there is no val/). Throws Error(input) where the
  /// split is missing, a class has no picture, or the classes differ from those of train/.
  ImageFolderSource(const std::filesystem::path& folder, Split split);

  [[nodiscard]] std::int64_t size() const override { return first_of_class_.back(); }
  [[nodiscard]] std::int64_t num_classes() const override {
    return static_cast<std::int64_t>(classes_.size());
  }
  [[nodiscard]] std::vector<std::string> class_names() const override { return classes_; }
  [[nodiscard]] std::int64_t channels() const override { return 3; }
  [[nodiscard]] std::int64_t label(std::int64_t index) const override;
  void read(std::int64_t index, StoredImage& into) const override;
  [[nodiscard]] std::string name(std::int64_t index) const override { return path(index).string(); }
  [[nodiscard]] std::uint64_t fingerprint() const override;
  [[nodiscard]] std::optional<Extent> fixed_extent() const override { return fixed_extent_; }

  [[nodiscard]] std::filesystem::path path(std::int64_t index) const;

 private:
  void list_files();
  [[nodiscard]] std::string_view file_name(std::int64_t index) const;

  std::filesystem::path root_;
  std::vector<std::string> classes_;
  std::vector<std::int64_t> first_of_class_;  // an index for each class, and the end
  std::string names_;                         // of all files, one after another
  std::vector<std::uint32_t> name_ends_;
  std::optional<Extent> fixed_extent_;
};

}  // namespace slicereduce
