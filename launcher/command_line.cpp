#include "launcher/command_line.hpp"

#include <CLI/CLI.hpp>
#include <string>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

void add_network_options(CLI::App& app, NetworkOptions& o) {
  constexpr const char* kGroup = "Network and sampling";
  app.add_option(
         "-a,--arch", o.arch,
         "resnet18|34|50|101|152; for small images resnet20|32|44|56|110 or wrn-DEPTH-WIDTH; for 28x28 "
         "images mlp-LAYERSxWIDTH or cnn")
      ->group(kGroup);
  app.add_option("--dropout", o.dropout, "Share of features that wrn, mlp and cnn drop in training")
      ->group(kGroup);
  app.add_option(
         "--mode", o.mode,
         "dense: leave nothing out; compact: train the small network that sampling leaves; feedback: train "
         "all of it, send slices of the gradient, and keep the rest for later; approximate: sample each "
         "product by itself; auto (not for plan): the fastest that the other options allow, by measurement")
      ->group(kGroup);
  app.add_option("--sample-ratio", o.size.ratio,
                 "Share of a layer's input channels that a step keeps, or in mode feedback sends; 0: 0.5, or "
                 "0.25 in mode feedback")
      ->group(kGroup);
  app.add_option("--minimal-k", o.size.minimal_k, "Never keep fewer channels than this")->group(kGroup);
  app.add_option("--channel-multiple", o.size.channel_multiple,
                 "Round the number of kept channels up to a multiple of this; 1: the published formula")
      ->group(kGroup);
  app.add_option(
         "--channel-block", o.size.channel_block,
         "Keep or leave out so many neighbouring channels together, where a layer's are a multiple of it")
      ->group(kGroup);
  app.add_option("--slice-output-ratio", o.slice_output_ratio,
                 "In mode feedback, share of a layer's output channels that a step sends: 1, 1/2, 1/3, ...")
      ->group(kGroup);
  app.add_option(
         "--sampler", o.sampler,
         "topk, gumbel, anneal, proportional, bernoulli, uniform, uniform_replaced, adaptive, narrow, aged, "
         "cyclic; auto: topk, or aged in mode feedback")
      ->group(kGroup);
  app.add_option(
         "--approximate", o.approximate,
         "In mode approximate, forward: the products of the forward pass, and gradients inside what they "
         "kept; black_box: gradients as if they were exact; backward: the gradients' products alone")
      ->group(kGroup);
  app.add_option(
         "--term-norms", o.term_norms,
         "In mode approximate, what the sampler sees. both: norms of activations times norms of weights; "
         "weights: theirs alone; subset: both, of a few entries")
      ->group(kGroup);
  app.add_option(
         "--input-gradient-ratio", o.input_gradient_ratio,
         "With --approximate backward, share of the output channels that the gradient to a layer's input "
         "is made of; 0: as --sample-ratio")
      ->group(kGroup);
  app.add_option(
         "--weight-gradient-ratio", o.weight_gradient_ratio,
         "With --approximate backward, share of the examples that the gradient to its weights is made of; "
         "0: as --sample-ratio")
      ->group(kGroup);
  app.add_option(
         "--coupling", o.coupling,
         "In mode compact, block: leave out outputs that the next convolution drops; none: compute them")
      ->group(kGroup);
  app.add_option("--resample-every", o.resample_every, "Steps that share a choice of channels")
      ->group(kGroup);
  app.add_option("--anneal-steps", o.anneal_steps,
                 "With --sampler anneal, steps in which its noise falls to zero: topk from there on")
      ->group(kGroup);
  app.add_option(
         "--join", o.join,
         "How channels join when mode compact ends or its ratio rises. as_they_are: as they were left; "
         "zero: with weights of zero, so that the network goes on as what it was")
      ->group(kGroup);
  app.add_flag("--sample-classifier", o.sample_classifier,
               "In modes compact and approximate, sample the classifier's input channels too; feedback cuts "
               "it anyway")
      ->group(kGroup);
  app.add_option("--wire", o.wire, "fp32|bf16|fp16: how gradients travel")->group(kGroup);
}

void add_reduction_options(CLI::App& app, StepOptions& o) {
  constexpr const char* kGroup = "Step";
  app.add_option("--reduce", o.reduce,
                 "slices: what was sampled, all of it in mode dense; powersgd: its factors of low rank, with "
                 "feedback; dense: the whole gradient, for comparison; auto: powersgd between several "
                 "workers, slices with one and with --backend nccl")
      ->group(kGroup);
  app.add_option("--powersgd-rank", o.powersgd_rank, "Rank of the factors with --reduce powersgd or auto")
      ->group(kGroup);
  app.add_option("--bucket-mb", o.bucket_mb, "Gradients that travel in one AllReduce, in MB")->group(kGroup);
}

void add_hierarchy_option(CLI::App& app, std::string& hierarchy) {
  app.add_option(
         "--hierarchy", hierarchy,
         "on: where nodes have several workers, reduce on each node first, then one worker a node over "
         "the network; off: one ring of all workers; auto: the faster one, by measurement")
      ->group("Step");
}

void add_step_options(CLI::App& app, StepOptions& o) {
  constexpr const char* kGroup = "Step";
  app.add_option("-b,--batch-size", o.batch_size, "Images a worker computes at once")->group(kGroup);
  app.add_option("--accumulate", o.accumulate,
                 "Batches of this size a worker and step: one choice of channels, one reduction, one update")
      ->group(kGroup);
  app.add_option("--lr", o.lr, "Learning rate at the start (after the warm-up)")->group(kGroup);
  app.add_option("--momentum", o.sgd.momentum, "SGD's momentum")->group(kGroup);
  app.add_flag("--nesterov", o.sgd.nesterov, "Nesterov's momentum")->group(kGroup);
  app.add_option("--weight-decay", o.sgd.weight_decay, "L2 penalty, added to the gradient")->group(kGroup);
  app.add_option("--decay-vectors", o.sgd.decay_vectors, "Whether biases and batch norm decay too")
      ->group(kGroup);
  app.add_option("--label-smoothing", o.label_smoothing, "Share of the target spread over all classes")
      ->group(kGroup);
  app.add_option("--precision", o.precision,
                 "fp32|bf16: arithmetic of convolutions; master weights stay fp32")
      ->group(kGroup);
  app.add_option("--device", o.device, "auto|cpu|cuda")->group(kGroup);
  add_reduction_options(app, o);
  app.add_option("--overlap", o.overlap, "on: reduce during backward; off: after it")->group(kGroup);
  app.add_option("--backend", o.backend,
                 "nccl: reduce in the cards' memory; mpi: in the host's; auto: nccl where workers compute on "
                 "cards and do not send factors")
      ->group(kGroup);
  app.add_option(
         "--cuda-graph", o.cuda_graph,
         "auto: give a card a whole step at once, where steps recur; off: one operation after the other; "
         "on: as auto, but an error that says what keeps steps from it, and the CPU's go the same way")
      ->group(kGroup);
  app.add_option(
         "--cudnn", o.cudnn,
         "deterministic: a card's convolutions give the same bits in every run; fastest: by kernels that "
         "it has measured at the start")
      ->group(kGroup);
  add_hierarchy_option(app, o.hierarchy);
  app.add_option("--timeout", o.timeout_s, "Seconds after which a worker that stands still ends the run")
      ->group(kGroup);
  app.add_option("--threads", o.threads, "Threads a worker computes with; 0: its share of the cores")
      ->group(kGroup);
}

void add_auto_options(CLI::App& app, double& auto_ratio) {
  app.add_option("--auto-ratio", auto_ratio,
                 "With --mode auto, the least share of channels that it may keep by mode compact; 1: all")
      ->group("Network and sampling");
}

void refuse_beside_auto(const CLI::App& command) {
  if (command.get_option("--mode")->as<std::string>() != "auto") {
    return;
  }
  for (const char* option : {"--reduce", "--bucket-mb"}) {
    if (command.get_option(option)->count() > 0) {
      throw Error(ErrorKind::usage, concat(option, " beside mode auto, which chooses it: expected no ",
                                           option, ", or another mode (--mode)"));
    }
  }
}

void add_train_options(CLI::App& app, TrainOptions& o) {
  app.add_option("--data", o.data, "Folder of the dataset, or a pattern of shards: train-{0000..0146}.tar")
      ->required()
      ->group("Data");
  app.add_option("--val-data", o.val_data, "Where the validation set is, if not there")->group("Data");
  app.add_option("--dataset", o.dataset, "auto|imagefolder|webdataset|cifar10|mnist (IDX files)")
      ->group("Data");
  app.add_option("--image-size", o.image_size, "Side of the training image; 0: the dataset's own, or 224")
      ->group("Data");
  app.add_option("--size-schedule", o.size_schedule,
                 "EPOCH:SIDE,... of training images, small ones first; evaluation keeps --image-size")
      ->group("Data");
  app.add_option("--decode", o.decode,
                 "needed: of a photograph, only what its crop shows; whole: all of it, as torchvision does")
      ->group("Data");
  app.add_option("--bad-images", o.bad_images,
                 "Pictures that can't be read or decoded: error ends the run; skip takes the next one")
      ->group("Data");
  app.add_option("-j,--workers", o.workers, "Loader threads a worker; 0: load in the training thread")
      ->group("Data");
  add_network_options(app, o.network);
  app.add_option("--mode-schedule", o.mode_schedule, "EPOCH:MODE,... instead of one --mode")
      ->group("Network and sampling");
  app.add_option("--ratio-schedule", o.ratio_schedule, "EPOCH:RATIO,... instead of one --sample-ratio")
      ->group("Network and sampling");
  add_auto_options(app, o.auto_ratio);
  app.add_option("--on-disagreement", o.on_disagreement,
                 "error, or broadcast: go on with rank 0's choice of channels where ranks differ")
      ->group("Network and sampling");
  add_step_options(app, o.step);
  constexpr const char* kRun = "Run";
  app.add_option(
         "--on-nonfinite", o.on_nonfinite,
         "A loss that is no number, on any worker: stop ends the run; skip leaves that step out on all "
         "workers, a few in a row at most")
      ->group(kRun);
  app.add_option("--global-batch-size", o.global_batch_size,
                 "Images of a step on all workers, the same for any number of them; --batch-size is then the "
                 "most that a worker computes at once. 0: --batch-size x --accumulate x workers")
      ->group(kRun);
  app.add_option("--epochs", o.epochs, "Passes over the training images")->group(kRun);
  app.add_option("--steps", o.steps, "End after this many steps instead; 0: as the epochs take")->group(kRun);
  app.add_option("--warmup-epochs", o.warmup_epochs, "Epochs in which the learning rate rises from 0")
      ->group(kRun);
  app.add_option("--schedule", o.schedule, "cosine, step (drops at --lr-milestones), or constant")
      ->group(kRun);
  app.add_option("--lr-milestones", o.lr_milestones,
                 "With --schedule step, EPOCH,... at which the learning rate drops; none: every 30")
      ->group(kRun);
  app.add_option("--lr-gamma", o.lr_gamma, "With --schedule step, what it is multiplied by there")
      ->group(kRun);
  app.add_option("--eval-network", o.eval_network,
                 "auto|sampled|dense|both: what is evaluated after an epoch")
      ->group(kRun);
  app.add_option(
         "--recalibrate-batches", o.recalibrate_batches,
         "Exact forward passes that give batch norm's statistics before the dense network is evaluated")
      ->group(kRun);
  app.add_option("--run-dir", o.run_dir, "Folder for checkpoints, metrics and log")->group(kRun);
  app.add_option("--resume", o.resume, "auto: the newest checkpoint of the run folder; none; or a file")
      ->group(kRun);
  app.add_option("--init-from", o.init_from, "Start from weights that torch.save wrote (a state_dict)")
      ->group(kRun);
  app.add_option("--checkpoint-every", o.checkpoint_every, "Steps between checkpoints; 0: an epoch")
      ->group(kRun);
  app.add_option("--keep", o.keep, "Checkpoints to keep, besides the best")->group(kRun);
  app.add_option("--checkpoint-failures", o.checkpoint_failures,
                 "So many checkpoints in a row that can't be written end the run; fewer are a warning")
      ->group(kRun);
  app.add_option("--stop-after", o.stop_after,
                 "Stop with a checkpoint and exit code 3 after this step, to be resumed")
      ->group(kRun);
  app.add_option("--seed", o.seed, "Of everything that is random; drawn by rank 0 if absent")->group(kRun);
  app.add_option("-p,--log-every", o.log_every, "Steps between log lines")->group(kRun);
  app.add_option("--trace", o.trace,
                 "So many steps of all workers as a trace for ui.perfetto.dev, in the run's folder; 0: none")
      ->group(kRun);
  app.add_option("--progress", o.progress,
                 "auto: a bar where standard error is a terminal, else log lines; bar (mpirun makes a pipe "
                 "of it); lines")
      ->group(kRun);
  app.add_option("--check-replicas-every", o.check_replicas_every,
                 "Steps between comparisons of all ranks' weights and momentum; 0: at checkpoints")
      ->group(kRun);
  app.add_option("--inject", o.inject,
                 "FAULT@rankN:PLACE,... breaks the run on purpose, as in kill@rank1:step7: see "
                 "docs/reliability.md")
      ->group("Tests");
  app.add_flag("--allow-inject", o.allow_inject, "What --inject needs beside it")->group("Tests");
}

}  // namespace slicereduce
