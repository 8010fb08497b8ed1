#include "imagenet/open_dataset.hpp"

#include "core/error.hpp"
#include "core/text.hpp"
#include "imagenet/cifar10_source.hpp"
#include "imagenet/idx_source.hpp"
#include "imagenet/image_folder_source.hpp"

namespace slicereduce {

namespace {

DatasetKind recognize(const std::filesystem::path& folder) {
  if (is_idx_folder(folder)) {
    return DatasetKind::mnist;
  }
  if (is_cifar10_folder(folder)) {
    return DatasetKind::cifar10;
  }
  if (is_image_folder(folder)) {
    return DatasetKind::imagefolder;
  }
  throw Error(
      ErrorKind::input,
      concat("no dataset was recognized in ", folder.string(),
             ": looked for train-images-idx3-ubyte[.gz] or t10k-images-idx3-ubyte[.gz] (MNIST format), "
             "data_batch_1.bin or test_batch.bin, there or in cifar-10-batches-bin/ (CIFAR-10), and "
             "train/, val/ or test/ with a folder for each class (image folder); check --data"));
}

std::unique_ptr<ImageSource> open_existing(DatasetKind kind, const std::filesystem::path& folder,
                                           Split split) {
  switch (kind == DatasetKind::automatic ? recognize(folder) : kind) {
    case DatasetKind::mnist:
      return std::make_unique<IdxSource>(folder, split);
    case DatasetKind::cifar10:
      return std::make_unique<Cifar10Source>(folder, split);
    case DatasetKind::imagefolder:
      return std::make_unique<ImageFolderSource>(folder, split);
    case DatasetKind::automatic:
      break;
  }
  throw Error(ErrorKind::invariant, "open_dataset: a dataset kind without a source");
}

}  // namespace

std::unique_ptr<ImageSource> open_dataset(DatasetKind kind, const std::filesystem::path& folder,
                                          Split split) {
  std::error_code problem;
  if (!std::filesystem::is_directory(folder, problem)) {
    throw Error(ErrorKind::input,
                concat("cannot open the dataset ", folder.string(), ": ",
                       problem ? problem.message() : "it is not a folder", "; check --data"));
  }
  try {
    return open_existing(kind, folder, split);
  } catch (const std::filesystem::filesystem_error& error) {
    // A folder that may not be listed, a link to itself: the message names it.
    throw Error(ErrorKind::input, concat("cannot open the dataset ", folder.string(), ": ", error.what(),
                                         "; check it and its permissions"));
  }
}

}  // namespace slicereduce
