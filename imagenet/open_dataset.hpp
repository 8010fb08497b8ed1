#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// How a dataset lies on disk.
enum class DatasetKind {
  automatic,    ///< whichever of the others the folder holds
  imagefolder,  ///< train/CLASS/*.jpg and val/CLASS/*.jpg (or test/)
  cifar10,      ///< the binary version: data_batch_1.bin ... test_batch.bin
  mnist,        ///< IDX files with 10 classes, plain or gzip: MNIST, Fashion-MNIST, KMNIST
  webdataset,   ///< tar shards: train*.tar and val*.tar, or in train/ and val/
};

/// Whether `path` is of shards themselves, not a folder that has them: such shards are of no split.
[[nodiscard]] bool names_shards(const std::filesystem::path& path);

/// Opens a split of the dataset in the folder `path`; or shards that a file name or a pattern of names with
/// braces stands for (see expand_braces), whatever the split. `warn` is told of what goes wrong without harm.
/// Throws Error(input) that says which files were looked for, or which one is damaged.
[[nodiscard]] std::unique_ptr<ImageSource> open_dataset(
    DatasetKind kind, const std::filesystem::path& path, Split split,
    const std::function<void(const std::string&)>& warn = {});

}  // namespace slicereduce
