#include "imagenet/open_dataset.hpp"

#include "core/error.hpp"
#include "core/text.hpp"
#include "imagenet/cifar10_source.hpp"
#include "imagenet/flat_folder_source.hpp"
#include "imagenet/idx_source.hpp"
#include "imagenet/image_folder_source.hpp"
#include "imagenet/picture_files.hpp"
#include "imagenet/shard_pattern.hpp"
#include "imagenet/webdataset_source.hpp"

namespace slicereduce {

namespace {

bool has_shards(const std::filesystem::path& folder) {
  return !shards_in(folder, Split::train).empty() || !shards_in(folder, Split::validation).empty();
}

bool has_class_folders(const std::filesystem::path& folder) {
  const auto has = [&folder](const char* split) {
    return std::filesystem::is_directory(folder / split) && !folder_names(folder / split).empty();
  };
  return has("train") || has("val") || has("test");
}

DatasetKind recognize(const std::filesystem::path& folder) {
  if (is_idx_folder(folder)) {
    return DatasetKind::mnist;
  }
  if (is_cifar10_folder(folder)) {
    return DatasetKind::cifar10;
  }
  // Before the image folder, whose train/ the shards may lie in.
  if (has_shards(folder)) {
    if (has_class_folders(folder)) {
      throw Error(ErrorKind::input,
                  concat(folder.string(),
                         " holds tar files, and class folders in train/, val/ or test/: say "
                         "which to take (--dataset webdataset or imagefolder)"));
    }
    return DatasetKind::webdataset;
  }
  if (is_image_folder(folder)) {
    return DatasetKind::imagefolder;
  }
  throw Error(
      ErrorKind::input,
      concat(
          "no dataset was recognized in ", folder.string(),
          ": looked for train-images-idx3-ubyte[.gz] or t10k-images-idx3-ubyte[.gz] (MNIST format), "
          "data_batch_1.bin or test_batch.bin, there or in cifar-10-batches-bin/ (CIFAR-10), train*.tar or "
          "val*.tar, there or in train/ and val/ (WebDataset shards), and "
          "train/, val/ or test/ with a folder for each class (image folder); check --data"));
}

using Warn = std::function<void(const std::string&)>;

std::unique_ptr<ImageSource> open_shards_in(const std::filesystem::path& folder, Split split,
                                            const Warn& warn) {
  const auto shards = shards_in(folder, split);
  if (shards.empty()) {
    const std::string name = split == Split::train ? "train" : "val";
    throw Error(ErrorKind::input, concat("no ", name, "*.tar in ", folder.string(), " or in its ", name,
                                         "/: expected WebDataset shards there; check --data"));
  }
  return std::make_unique<WebDatasetSource>(shards, warn);
}

std::unique_ptr<ImageSource> open_named_shards(const std::filesystem::path& pattern, const Warn& warn) {
  const auto names = expand_braces(pattern.string());
  return std::make_unique<WebDatasetSource>(std::vector<std::filesystem::path>(names.begin(), names.end()),
                                            warn);
}

std::unique_ptr<ImageSource> open_existing(DatasetKind kind, const std::filesystem::path& folder, Split split,
                                           const Warn& warn) {
  switch (kind == DatasetKind::automatic ? recognize(folder) : kind) {
    case DatasetKind::mnist:
      return std::make_unique<IdxSource>(folder, split);
    case DatasetKind::cifar10:
      return std::make_unique<Cifar10Source>(folder, split);
    case DatasetKind::imagefolder:
      if (split == Split::validation && has_flat_validation(folder)) {
        return std::make_unique<FlatFolderSource>(folder);
      }
      return std::make_unique<ImageFolderSource>(folder, split);
    case DatasetKind::webdataset:
      return open_shards_in(folder, split, warn);
    case DatasetKind::automatic:
      break;
  }
  throw Error(ErrorKind::invariant, "open_dataset: a dataset kind without a source");
}

}  // namespace

bool names_shards(const std::filesystem::path& path) {
  std::error_code problem;
  return (path.string().find('{') != std::string::npos || path.extension() == ".tar") &&
         !std::filesystem::is_directory(path, problem);
}

std::unique_ptr<ImageSource> open_dataset(DatasetKind kind, const std::filesystem::path& folder, Split split,
                                          const Warn& warn) {
  std::error_code problem;
  if ((kind == DatasetKind::automatic || kind == DatasetKind::webdataset) && names_shards(folder)) {
    return open_named_shards(folder, warn);
  }
  if (!std::filesystem::is_directory(folder, problem)) {
    throw Error(ErrorKind::input,
                concat("cannot open the dataset ", folder.string(), ": ",
                       problem ? problem.message() : "it is not a folder", "; check --data"));
  }
  try {
    return open_existing(kind, folder, split, warn);
  } catch (const std::filesystem::filesystem_error& error) {
    // A folder that may not be listed, a link to itself: the message names it.
    throw Error(ErrorKind::input, concat("cannot open the dataset ", folder.string(), ": ", error.what(),
                                         "; check it and its permissions"));
  }
}

}  // namespace slicereduce
