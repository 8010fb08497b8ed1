#include "launcher/bench_loader.hpp"

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/choice.hpp"
#include "core/text.hpp"
#include "imagenet/epoch_order.hpp"
#include "launcher/slowest.hpp"
#include "launcher/training_data.hpp"
#include "launcher/view_dump.hpp"

namespace slicereduce {

namespace {

struct LoaderBenchOptions {
  std::string data;
  std::string dataset = "auto";
  std::string split = "train";
  std::int64_t image_size = 0;
  std::string decode = "needed";
  std::string bad_images = "error";
  std::int64_t batch_size = 64;
  int workers = 1;
  std::int64_t batches = 20;
  std::int64_t warmup = 4;
  std::uint64_t seed = 0;
  std::string dump;
  std::int64_t count = 64;
  bool json = false;

  [[nodiscard]] bool trains() const { return split == "train"; }

  void validate() const {
    (void)parse_choice<int>(split, "--split", {{"train", 0}, {"val", 1}});
    (void)parse_decode(decode);
    loader_config(workers, seed, bad_images, Log::silent()).validate();
    if (batch_size < 1 || batches < 1 || warmup < 1 || count < 1) {
      throw Error(ErrorKind::usage, "--batch-size, --batches, --warmup and --count have to be positive");
    }
  }
};

double processor_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  constexpr double kMicro = 1e-6;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + kMicro * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Passes over one split, one after the other, as training has them.
class Passes {
 public:
  Passes(const LoaderBenchOptions& options, const ImageSource& source, const TransformConfig& transform,
         const Log& log)
      : source_(source),
        batch_size_(options.batch_size),
        loader_(source, transform, loader_config(options.workers, options.seed, options.bad_images, log)) {
    if (options.trains()) {
      order_.emplace(source.size(), batch_size_, /*world_size=*/1, options.seed);
    }
  }

  void start(std::int64_t epoch) {
    if (order_) {
      loader_.start_epoch(*order_, /*rank=*/0, epoch);
    } else {
      loader_.start_evaluation(validation_indices(source_.size(), /*rank=*/0, /*world_size=*/1), batch_size_);
    }
    epoch_ = epoch;
  }

  /// The number of images of the next batch, of a further pass where this one has ended.
  std::int64_t next() {
    auto batch = loader_.next();
    if (!batch) {
      start(epoch_ + 1);
      batch = loader_.next();
    }
    return batch->images.size(0);
  }

  [[nodiscard]] Loader& loader() { return loader_; }

 private:
  const ImageSource& source_;
  std::int64_t batch_size_;
  Loader loader_;
  std::optional<EpochOrder> order_;
  std::int64_t epoch_ = 0;
};

double ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

struct Measurement {
  std::int64_t images = 0;
  double first_batch_ms = 0;  ///< with the order of the epoch
  double wall_s = 0;
  double processor_s = 0;
  ViewTimes threads;
  std::vector<double> waits_ms;  ///< of each batch
};

Measurement measure(Passes& passes, const LoaderBenchOptions& options) {
  Measurement result;
  const auto begin = std::chrono::steady_clock::now();
  passes.start(0);
  (void)passes.next();
  result.first_batch_ms = ms_since(begin);
  for (std::int64_t i = 1; i < options.warmup; ++i) {
    (void)passes.next();
  }
  const ViewTimes threads_before = passes.loader().times();
  const double processor_before = processor_seconds();
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < options.batches; ++i) {
    result.images += passes.next();
    result.waits_ms.push_back(passes.loader().waited_ms());
  }
  result.wall_s = ms_since(start) / 1e3;
  result.processor_s = processor_seconds() - processor_before;
  result.threads = passes.loader().times() - threads_before;
  return result;
}

nlohmann::ordered_json to_json(const Measurement& measured, double open_ms, const LoaderBenchOptions& options,
                               const ImageSource& source, const TransformConfig& transform) {
  const auto images = static_cast<double>(measured.images);
  const auto ms_per_image = [images](std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::milli>(time).count() / images;
  };
  return {{"split", options.split},
          {"images", source.size()},
          {"image_size", transform.image_size},
          {"decode", options.decode},
          {"threads", options.workers},
          {"batch_size", options.batch_size},
          {"batches", options.batches},
          {"open_ms", open_ms},
          {"first_batch_ms", measured.first_batch_ms},
          {"images_per_s", images / measured.wall_s},
          {"images_per_core_s", images / measured.processor_s},
          {"read_ms", ms_per_image(measured.threads.read)},
          {"decode_ms", ms_per_image(measured.threads.decode)},
          {"resize_ms", ms_per_image(measured.threads.resize)},
          {"wait_ms", quantile(measured.waits_ms, 0.5)},
          {"wait_ms_p90", quantile(measured.waits_ms, 0.9)}};
}

ExitCode bench_loader(const LoaderBenchOptions& options) {
  options.validate();
  const Log log = Log::to_stderr(/*rank=*/0);
  const auto begin = std::chrono::steady_clock::now();
  SplitData data =
      SplitData::open(options.data, options.dataset, options.trains() ? Split::train : Split::validation,
                      options.image_size, log);
  const double open_ms = ms_since(begin);
  data.transform.decode = parse_decode(options.decode);
  const ImageSource& source = *data.source;
  if (options.batch_size > source.size()) {
    throw Error(ErrorKind::usage, concat("--batch-size ", options.batch_size, ": expected at most the ",
                                         source.size(), " images of the set"));
  }
  Passes passes(options, source, data.transform, log);
  if (!options.dump.empty()) {
    passes.start(0);
    const DumpedViews views{.count = options.count,
                            .transform = data.transform,
                            .seed = options.seed,
                            .epoch = options.trains() ? std::optional<std::int64_t>(0) : std::nullopt};
    dump_views(options.dump, views, source, passes.loader());
    return ExitCode::done;
  }
  const auto json = to_json(measure(passes, options), open_ms, options, source, data.transform);
  std::cout << (options.json ? json.dump() : json.dump(2)) << std::endl;
  return ExitCode::done;
}

}  // namespace

void add_bench_loader(CLI::App& bench, Action& action) {
  CLI::App* command = bench.add_subcommand(
      "loader", "Images a second from files to batches; needs no other worker and no network");
  const auto o = std::make_shared<LoaderBenchOptions>();
  command->add_option("--data", o->data, "Folder of the dataset")->required();
  command->add_option("--dataset", o->dataset, "As train has it");
  command->add_option("--split", o->split, "train: varied views in random order; val: as for evaluation");
  command->add_option("--image-size", o->image_size, "Side of the view; 0: the dataset's own, or 224");
  command->add_option("--decode", o->decode, "needed|whole: what is decoded of a photograph in training");
  command->add_option("--bad-images", o->bad_images, "error|skip, as train has it");
  command->add_option("-b,--batch-size", o->batch_size, "Images of a batch");
  command->add_option("-j,--workers", o->workers, "Loader threads; 0: load in the thread that asks");
  command->add_option("--batches", o->batches, "Batches to measure, of as many passes as it takes");
  command->add_option("--warmup", o->warmup, "Batches before them");
  command->add_option("--seed", o->seed, "Of order and augmentation");
  command->add_option(
      "--dump", o->dump,
      "FILE.npy: measure nothing, write the first views there, and what they show to FILE.jsonl");
  command->add_option("--count", o->count, "Views to write with --dump");
  command->add_flag("--json", o->json, "One JSON object a line");
  command->callback([o, &action] { action = [o](Arguments) { return bench_loader(*o); }; });
}

}  // namespace slicereduce
