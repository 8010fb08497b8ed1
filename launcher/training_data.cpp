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
                                    {"mnist", DatasetKind::mnist},
                                    {"webdataset", DatasetKind::webdataset}});
}

void require_same_classes(const ImageSource& train, const ImageSource& validation) {
  if (train.num_classes() != validation.num_classes() || train.channels() != validation.channels()) {
    throw Error(ErrorKind::input, concat("the training set has ", train.num_classes(), " classes and ",
                                         train.channels(), " channels, the validation set ",
                                         validation.num_classes(), " and ", validation.channels(),
                                         ": expected the same; shards say their classes by a classes.txt "
                                         "beside them (--data, --val-data)"));
  }
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

SplitData SplitData::open(const std::string& data, const std::string& dataset, Split split,
                          std::int64_t image_size, const Log& log) {
  SplitData opened;
  opened.source =
      open_dataset(kind_of(dataset), data, split, [&log](const std::string& what) { log.warn(what); });
  opened.transform = default_transform(*opened.source, image_size);
  opened.normalization = default_normalization(*opened.source);
  return opened;
}

TrainingData TrainingData::open(const std::string& data, const std::string& validation_data,
                                const std::string& dataset, std::int64_t image_size, const Log& log) {
  if (validation_data.empty() && names_shards(data)) {
    throw Error(ErrorKind::usage, concat("--data ", data,
                                         " names shards of one set: expected those of the validation set "
                                         "beside it (--val-data)"));
  }
  SplitData train = SplitData::open(data, dataset, Split::train, image_size, log);
  SplitData validation = SplitData::open(validation_data.empty() ? data : validation_data, dataset,
                                         Split::validation, image_size, log);
  require_same_classes(*train.source, *validation.source);
  return {.train = std::move(train.source),
          .validation = std::move(validation.source),
          .transform = train.transform,
          .normalization = train.normalization};
}

}  // namespace slicereduce
