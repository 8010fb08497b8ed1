#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/input_file.hpp"
#include "imagenet/image_source.hpp"
#include "imagenet/shard_index.hpp"

namespace slicereduce {

/// The shards of one split in `folder`, sorted: train*.tar, or those in train/; for validation val*.tar or
/// test*.tar, or those in val/ or test/. None where there are none.
[[nodiscard]] std::vector<std::filesystem::path> shards_in(const std::filesystem::path& folder, Split split);

/// WebDataset shards: tar files with KEY.jpg (or .jpeg, .png) and KEY.cls, a number, for each picture. Every
/// picture is read where the shard's index says that it is, so that the order is that of the whole set. An
/// index is read as DALI's wds2idx writes it, and made where it is missing. Only places are held in memory,
/// 24 bytes a picture. Pictures come as RGB.
class WebDatasetSource : public ImageSource {
 public:
  /// Told what went wrong without harm.
  using Warn = std::function<void(const std::string&)>;

  /// Opens all shards. The classes are the lines of classes.txt beside the first one; without it all labels
  /// are read, to know the greatest. Throws Error(input) naming the file that is missing or damaged.
  explicit WebDatasetSource(const std::vector<std::filesystem::path>& shards, const Warn& warn = {});

  [[nodiscard]] std::int64_t size() const override { return first_of_shard_.back(); }
  [[nodiscard]] std::int64_t num_classes() const override { return num_classes_; }
  [[nodiscard]] std::int64_t channels() const override { return 3; }
  /// Read from the shard. Throws Error(input) where it is no label.
  [[nodiscard]] std::int64_t label(std::int64_t index) const override;
  void read(std::int64_t index, StoredImage& into) const override;
  [[nodiscard]] std::string name(std::int64_t index) const override;
  [[nodiscard]] std::uint64_t fingerprint() const override;
  [[nodiscard]] std::optional<Extent> fixed_extent() const override { return fixed_extent_; }

 private:
  [[nodiscard]] const StoredSample& sample(std::int64_t index) const;
  [[nodiscard]] std::size_t shard_of(std::int64_t index) const;
  [[nodiscard]] std::int64_t stored_label(std::int64_t index) const;
  [[nodiscard]] std::int64_t count_classes() const;

  std::vector<InputFile> shards_;
  std::vector<std::int64_t> first_of_shard_;        // an index for each shard, and the end
  std::vector<std::vector<StoredSample>> samples_;  // of each shard
  std::int64_t num_classes_ = 0;
  std::optional<Extent> fixed_extent_;
};

}  // namespace slicereduce
