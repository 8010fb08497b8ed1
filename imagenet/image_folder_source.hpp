#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// Whether `folder` has the train/, val/ or test/ of an image folder.
[[nodiscard]] bool is_image_folder(const std::filesystem::path& folder);

/// JPEG and PNG files in a folder for each class, as torchvision's ImageFolder has them: classes are
/// numbered in the order of their names. Only names are held in memory. Pictures come as RGB.
class ImageFolderSource : public ImageSource {
 public:
  /// Lists train/, or for validation val/ (test/ where there is no val/). Throws Error(input) where the
  /// split is missing, a class has no picture, or the classes differ from those of train/.
  ImageFolderSource(const std::filesystem::path& folder, Split split);

  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  [[nodiscard]] std::int64_t num_classes() const override {
    return static_cast<std::int64_t>(classes_.size());
  }
  [[nodiscard]] std::int64_t channels() const override { return 3; }
  [[nodiscard]] std::int64_t label(std::int64_t index) const override;
  [[nodiscard]] Image load(std::int64_t index) const override;
  [[nodiscard]] std::uint64_t fingerprint() const override;
  [[nodiscard]] std::optional<Extent> fixed_extent() const override { return fixed_extent_; }

  [[nodiscard]] const std::vector<std::string>& class_names() const { return classes_; }
  [[nodiscard]] std::filesystem::path path(std::int64_t index) const;

 private:
  struct File {
    std::int64_t label;
    std::string name;
  };

  void list_files();
  [[nodiscard]] std::optional<Extent> sample_extent() const;

  std::filesystem::path root_;
  std::vector<std::string> classes_;
  std::vector<File> files_;
  std::optional<Extent> fixed_extent_;
};

}  // namespace slicereduce
