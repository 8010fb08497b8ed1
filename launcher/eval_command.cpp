#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/device.hpp"
#include "core/digest.hpp"
#include "core/state_dict.hpp"
#include "core/text.hpp"
#include "launcher/activity.hpp"
#include "launcher/checkpoint.hpp"
#include "launcher/commands.hpp"
#include "launcher/consensus.hpp"
#include "launcher/evaluation.hpp"
#include "launcher/resolved_options.hpp"
#include "launcher/training_data.hpp"
#include "launcher/watched.hpp"
#include "models/weights.hpp"

namespace slicereduce {

namespace {

struct EvalOptions {
  std::string data;
  std::string dataset = "auto";
  std::string checkpoint;
  std::string weights;
  std::string arch;
  std::string network = "auto";
  std::string precision = "fp32";
  std::string device = "auto";
  std::int64_t image_size = 0;
  std::int64_t batch_size = 64;
  std::string bad_images = "error";
  int workers = 1;
  double timeout_s = 300;
  bool json = false;

  void validate() const {
    if (checkpoint.empty() == weights.empty()) {
      throw Error(ErrorKind::usage,
                  "name what to evaluate: either --checkpoint FILE, or --weights FILE with --arch");
    }
    if (!weights.empty() && arch.empty()) {
      throw Error(ErrorKind::usage, "--weights needs the architecture they are of (--arch)");
    }
    if (network != "auto" && network != "sampled" && network != "dense" && network != "both") {
      throw Error(ErrorKind::usage,
                  concat("'", network, "': expected auto, sampled, dense or both (--network)"));
    }
    if (!weights.empty() && (network == "sampled" || network == "both")) {
      throw Error(ErrorKind::usage, "weights without a plan have no sampled network (--network dense)");
    }
    if (batch_size < 1) {
      throw Error(ErrorKind::usage,
                  concat("batch_size = ", batch_size, ": expected at least 1 (--batch-size)"));
    }
    if (image_size < 0) {
      throw Error(ErrorKind::usage,
                  concat("image_size = ", image_size, ": expected at least 0 (--image-size)"));
    }
    loader_config(workers, /*seed=*/0, bad_images, Log::silent()).validate();
    (void)parse_precision(precision);
    (void)parse_device_choice(device);
    (void)parse_timeout(timeout_s);
  }
};

void require_to_fit(const LoadedNetwork& loaded, const SplitData& data, const EvalOptions& options) {
  if (loaded.manifest.num_classes != data.source->num_classes() ||
      loaded.manifest.in_channels != data.source->channels()) {
    throw Error(ErrorKind::input,
                concat(options.checkpoint, " holds a network of ", loaded.manifest.num_classes,
                       " classes and ", loaded.manifest.in_channels, " input channels, ", options.data,
                       " has ", data.source->num_classes(), " and ", data.source->channels()));
  }
}

std::unique_ptr<LoadedNetwork> load_weights(const EvalOptions& options, const SplitData& data,
                                            at::Device device) {
  Manifest manifest{.arch = options.arch, .coupling = "block"};
  manifest.in_channels = data.source->channels();
  manifest.num_classes = data.source->num_classes();
  auto loaded = std::make_unique<LoadedNetwork>(std::move(manifest), device);
  load_network_state(loaded->network, read_state_dict(options.weights), options.weights);
  loaded->exact_statistics = loaded->network.statistics().clone();
  return loaded;
}

void print(const std::string& network, const Accuracy& accuracy, bool json) {
  const nlohmann::ordered_json line{{"network", network},
                                    {"top1", accuracy.top1},
                                    {"top5", accuracy.top5},
                                    {"val_loss", accuracy.val_loss},
                                    {"images", accuracy.images}};
  const std::string text = concat("network=", network, " top1=", accuracy.top1, " top5=", accuracy.top5,
                                  " val_loss=", accuracy.val_loss, " images=", accuracy.images);
  std::cout << (json ? line.dump() : text) << std::endl;  // now: what comes next may not end
}

ExitCode evaluate_file(const CLI::App& command, const EvalOptions& options, const MpiSession& session,
                       Communicator& communicator, const Log& log) {
  require_same_options(command, communicator);
  SplitData data;
  std::unique_ptr<LoadedNetwork> loaded;
  together(communicator, [&] {
    const at::Device device = choose_device(parse_device_choice(options.device), session.local_rank());
    make_current(device);
    if (options.checkpoint.empty()) {
      data = SplitData::open(options.data, options.dataset, Split::validation, options.image_size, log);
      loaded = load_weights(options, data, device);
      return;
    }
    loaded = load_network(options.checkpoint, device);
    const std::int64_t image_size = options.image_size > 0 ? options.image_size : loaded->manifest.image_size;
    data = SplitData::open(options.data, options.dataset, Split::validation, image_size, log);
    require_to_fit(*loaded, data, options);
  });
  together(communicator,
           [&] { require_image_side(loaded->network.layout().architecture, data.transform.image_size); });
  require_agreement(communicator, {{"weights", to_hex(loaded->network.weights_digest())},
                                   {"validation data", to_hex(data.source->fingerprint())}});
  at::set_num_threads(session.default_threads());
  const bool sampled = !loaded->plan.full();
  const auto wants = [&](const std::string& name) {
    const std::string automatic = sampled && loaded->manifest.settles ? "sampled" : "dense";
    return options.network == "both" || options.network == name ||
           (options.network == "auto" && automatic == name);
  };
  Loader loader(*data.source, data.transform,
                loader_config(options.workers, /*seed=*/0, options.bad_images, log));
  const View view{.precision = parse_precision(options.precision), .normalization = data.normalization};
  const auto evaluate_one = [&](const std::string& name, const Plan& plan, NormStatistics& statistics) {
    const Accuracy accuracy = *evaluate(loaded->network, plan, statistics, view, loader, data.source->size(),
                                        options.batch_size, communicator);
    if (session.rank() == 0) {
      print(name, accuracy, options.json);
    }
  };
  if (wants("sampled") && sampled) {
    evaluate_one("sampled", loaded->plan, loaded->network.statistics());
  }
  if (wants("dense") || !sampled) {
    if (sampled && !loaded->recalibrated && session.rank() == 0) {
      log.warn(
          "this checkpoint has no batch norm statistics of the dense network: they are those of the sampled "
          "one");
    }
    evaluate_one("dense", Plan::full(loaded->network.layout().sites), loaded->exact_statistics);
  }
  return ExitCode::done;
}

}  // namespace

void add_eval_command(CLI::App& program, Action& action) {
  CLI::App* command =
      program.add_subcommand("eval", "Accuracy of a checkpoint, or of weights that torch.save wrote");
  const auto o = std::make_shared<EvalOptions>();
  command->add_option("--data", o->data, "Folder of the dataset, or a pattern of shards: val-{00..06}.tar")
      ->required();
  command->add_option("--dataset", o->dataset, "auto|imagefolder|webdataset|cifar10|mnist (IDX files)");
  command->add_option("--checkpoint", o->checkpoint, "Checkpoint of a run");
  command->add_option("--weights", o->weights, "A state_dict, such as torchvision's");
  command->add_option("-a,--arch", o->arch, "Architecture of --weights");
  command->add_option("--network", o->network,
                      "auto (the run's result), sampled, dense (the exact network), or both");
  command->add_option("--precision", o->precision, "fp32|bf16");
  command->add_option("--device", o->device, "auto|cpu|cuda");
  command->add_option("--image-size", o->image_size,
                      "Side of the image; 0: the run's, or of weights the dataset's own, or 224");
  command->add_option("-b,--batch-size", o->batch_size, "Images a worker and step");
  command->add_option("--bad-images", o->bad_images,
                      "Pictures that can't be read or decoded: error ends the run; skip leaves them out");
  command->add_option("-j,--workers", o->workers, "Loader threads a worker");
  command->add_option("--timeout", o->timeout_s, "Seconds after which a worker that stands still ends it");
  command->add_flag("--json", o->json, "One JSON object a line");
  command->callback([command, o, &action] {
    action = [command, o](Arguments arguments) {
      return on_all_ranks(
          arguments, [&](const MpiSession& session, MpiCommunicator& communicator, const Log& log) {
            together(communicator, [&] { o->validate(); });
            Activity activity;
            activity.enter(Phase::evaluating);
            const auto work = [&] { return evaluate_file(*command, *o, session, communicator, log); };
            return run_watched(session, communicator, log, activity, parse_timeout(o->timeout_s), work);
          });
    };
  });
}

}  // namespace slicereduce
