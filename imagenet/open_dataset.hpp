#pragma once

#include <filesystem>
#include <memory>

#include "imagenet/image_source.hpp"

namespace slicereduce {

enum class DatasetKind {
  automatic,    ///< whichever of the others the folder holds
  imagefolder,  ///< train/CLASS/*.jpg and val/CLASS/*.jpg (or test/)
  cifar10,      ///< the binary version: data_batch_1.bin ... test_batch.bin
  mnist,        ///< IDX files with 10 classes, plain or gzip: MNIST, Fashion-MNIST, KMNIST
};

/// Opens a split of the dataset in `folder`. Throws Error(input) that says which files were looked for,
/// or which one is damaged.
[[nodiscard]] std::unique_ptr<ImageSource> open_dataset(DatasetKind kind, const std::filesystem::path& folder,
                                                        Split split);

}  // namespace slicereduce
