#include "launcher/training_data.hpp"

#include "core/error.hpp"
#include "core/text.hpp"
#include "imagenet/open_dataset.hpp"

namespace slicereduce {

namespace {

DatasetKind kind_of(const std::string& name) {
  if (name == "auto") {
    return DatasetKind::automatic;
  }
  if (name == "imagefolder") {
    return DatasetKind::imagefolder;
  }
  if (name == "cifar10") {
    return DatasetKind::cifar10;
  }
  if (name == "mnist") {
    return DatasetKind::mnist;
  }
  throw Error(ErrorKind::usage, concat("unknown dataset '", name,
                                       "': expected auto, imagefolder, cifar10 or mnist (--dataset)"));
}

}  // namespace

TrainingData TrainingData::open(const std::string& folder, const std::string& dataset,
                                std::int64_t image_size) {
  TrainingData data;
  data.train = open_dataset(kind_of(dataset), folder, Split::train);
  data.validation = open_dataset(kind_of(dataset), folder, Split::validation);
  data.transform = default_transform(*data.train, image_size);
  data.transform.validate();
  data.normalization = default_normalization(*data.train);
  return data;
}

}  // namespace slicereduce
