#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// Whether val/ in `folder` holds pictures and no class folders, as ImageNet's validation set is published.
[[nodiscard]] bool has_flat_validation(const std::filesystem::path& folder);

/// ImageNet's validation set as it is published: all pictures in val/, and a list of their classes in val/ or
/// beside it. LOC_val_solution.csv (of Kaggle) names synsets: they are numbered as the class folders of
/// train/, or where there is no train/ in the order of their names, which is the same if all of them occur.
/// val.txt (of Caffe) has lines of a file and its number in that order. Pictures come as RGB.
class FlatFolderSource : public ImageSource {
 public:
  /// Throws Error(input) where there is no such list, or it has no class for a picture.
  explicit FlatFolderSource(const std::filesystem::path& folder);

  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(names_.size()); }
  [[nodiscard]] std::int64_t num_classes() const override { return num_classes_; }
  [[nodiscard]] std::vector<std::string> class_names() const override { return classes_; }
  [[nodiscard]] std::int64_t channels() const override { return 3; }
  [[nodiscard]] std::int64_t label(std::int64_t index) const override;
  void read(std::int64_t index, StoredImage& into) const override;
  [[nodiscard]] std::string name(std::int64_t index) const override;
  [[nodiscard]] std::uint64_t fingerprint() const override;
  [[nodiscard]] std::optional<Extent> fixed_extent() const override { return fixed_extent_; }

 private:
  std::filesystem::path root_;
  std::vector<std::string> names_;
  std::vector<std::int64_t> labels_;
  std::int64_t num_classes_ = 0;
  std::vector<std::string> classes_;  ///< none where a list of numbers is all that there is
  std::optional<Extent> fixed_extent_;
};

}  // namespace slicereduce
