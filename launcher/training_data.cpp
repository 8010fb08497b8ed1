#include "launcher/training_data.hpp"

#include "core/choice.hpp"
#include "core/text.hpp"
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

LoaderConfig loader_config(int threads, std::uint64_t seed, const std::string& bad_images, const Log& log) {
  LoaderConfig config{.threads = threads, .prefetch_batches = 4, .seed = seed};
  config.bad_images = parse_choice<BadImages>(bad_images, "--bad-images",
                                              {{"error", BadImages::error}, {"skip", BadImages::skip}});
  config.on_bad_image = [log](const std::string& why) { log.warn(concat("picture skipped: ", why)); };
  return config;
}

DecodeExtent parse_decode(const std::string& name) {
  return parse_choice<DecodeExtent>(name, "--decode",
                                    {{"needed", DecodeExtent::needed}, {"whole", DecodeExtent::whole}});
}

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
