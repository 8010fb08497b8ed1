#include "launcher/training_data.hpp"

#include "core/choice.hpp"
#include "imagenet/open_dataset.hpp"

namespace slicereduce {

namespace {

DatasetKind kind_of(const std::string& name) {
  return parse_choice<DatasetKind>(name, "--dataset",
                                   {{"auto", DatasetKind::automatic},
                                    {"imagefolder", DatasetKind::imagefolder},
                                    {"cifar10", DatasetKind::cifar10},
                                    {"mnist", DatasetKind::mnist}});
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
