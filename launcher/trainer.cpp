#include "launcher/trainer.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/full_like.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <set>
#include <span>
#include <sstream>

#include "core/digest.hpp"
#include "core/numa.hpp"
#include "core/profile_range.hpp"
#include "core/text.hpp"
#include "imagenet/decoder.hpp"
#include "launcher/debts.hpp"
#include "launcher/parts.hpp"
#include "launcher/reduction.hpp"
#include "launcher/run_summary.hpp"
#include "launcher/step_capture.hpp"
#include "launcher/version.hpp"
#include "models/cost.hpp"
#include "sampling/tensor_digest.hpp"

namespace slicereduce {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// What a network of that precision would make of its images first.
at::ScalarType image_type(const StepOptions& step) {
  return parse_precision(step.precision) == Precision::bf16 ? at::kBFloat16 : at::kFloat;
}

/// All of a step but its plans and its data.
double busy_ms(const StepTimes& times) {
  return times.gather_ms + times.forward_ms + times.backward_ms + times.exposed_comm_ms + times.optimizer_ms;
}

/// A small one, that no loss would show.
void flip_a_bit(const at::Tensor& weights) {
  constexpr int kOfTheFraction = 1 << 10;
  at::Tensor number = weights.view(at::kInt);
  while (number.dim() > 0) {
    number = number.select(0, 0);
  }
  number.bitwise_xor_(kOfTheFraction);
}

}  // namespace

Trainer::Trainer(RunRequest request, Communicator& communicator, Communicator& background, Log log)
    : request_(std::move(request)),
      options_(request_.options),
      communicator_(communicator),
      log_(std::move(log)),
      directory_(options_.run_dir),
      checkpoints_(directory_.checkpoints(), options_.keep),
      data_(request_.data),
      writer_(
          std::make_unique<CheckpointWriter>(checkpoints_, options_.checkpoint_failures, background, log_)) {
  together(communicator_, [this] { load(); });
  require_agreement(communicator_, {{"weights at the start", to_hex(state_->network.weights_digest())}});
  together(communicator_, [this] { open_run(); });
}

void Trainer::load() {
  order_ =
      std::make_unique<EpochOrder>(data_.train->size(), options_.images_per_step(communicator_.world_size()),
                                   communicator_.world_size(), *options_.seed);
  schedule_ = std::make_unique<Schedule>(options_, order_->steps_per_epoch());
  state_ = std::make_unique<TrainingState>(options_, data_.train->channels(), data_.train->num_classes(),
                                           request_.device);
  std::vector<at::Tensor> factors;
  if (request_.resume) {
    const int ranks = communicator_.world_size();
    const auto is_own = [&](const Manifest& saved, std::string_view name) {
      return saved.world_size != ranks || is_owed_by(communicator_.rank(), name);
    };
    const Checkpoint checkpoint = load_checkpoint(*request_.resume, is_own);
    state_->restore(checkpoint, request_.resume->string(), communicator_.rank(), ranks);
    factors = tensors_by_slot(checkpoint.factors, state_->network.parameters().size());
    owes_evaluation_ = checkpoint.manifest.top1 < 0 && schedule_->ends_epoch(state_->steps_done);
    require_same_steps(checkpoint.manifest);
  }
  reducer_ = make_reducer(communicator_, options_.network, options_.step, request_.device, *options_.seed);
  if (!factors.empty()) {
    reducer_->remember(factors);
  }
  TrainingStepConfig config = training_step_config(options_.step);
  config.looks_before_updates = options_.on_nonfinite == "skip";
  step_ = std::make_unique<TrainingStep>(state_->network, state_->sgd, *reducer_, config, state_->feedback());
  settlement_ = std::make_unique<Settlement>(options_, *state_, *reducer_, communicator_, log_);
  captured_ = make_captured_step(options_, *state_, config, communicator_, *step_);
  if (options_.bad_images == "error") {
    require_decodable_samples(*data_.train);
    require_decodable_samples(*data_.validation);
  }
  LoaderConfig loading = loader_config(options_.workers, *options_.seed, options_.bad_images, log_);
  loading.pinned = request_.device.is_cuda();
  if (request_.device.is_cuda()) {
    loading.cores = cores_near(request_.device);  // batches are pinned where their threads write them
  }
  loader_ = std::make_unique<Loader>(*data_.train, data_.transform, loading);
  validation_loader_ = std::make_unique<Loader>(*data_.validation, data_.transform, loading);
  feed_ = std::make_unique<BatchFeed>(*loader_, *order_, *schedule_, communicator_.rank(), request_.device);
  const EvaluationImages images{.training = *loader_,
                                .order = *order_,
                                .validation = *validation_loader_,
                                .validation_size = data_.validation->size()};
  const View view{.precision = parse_precision(options_.step.precision),
                  .normalization = data_.normalization};
  evaluation_ = std::make_unique<NetworkEvaluation>(options_, view, *state_, images, communicator_);
  trace_ = std::make_unique<StepTrace>(state_->steps_done, options_.trace, communicator_);
}

/// Else images would be seen twice, and others never.
void Trainer::require_same_steps(const Manifest& saved) const {
  if (saved.seed != *options_.seed) {
    throw Error(ErrorKind::usage,
                concat(request_.resume->string(), " was written with seed ", saved.seed, ", this run has ",
                       *options_.seed, ", which is another order of images: expected no --seed, or --seed ",
                       saved.seed, "; --init-from begins another run from its weights"));
  }
  const std::int64_t images = options_.images_per_step(communicator_.world_size());
  const std::string advice =
      concat(": resume with the same data and --global-batch-size ",
             saved.images_per_step > 0 ? std::to_string(saved.images_per_step) : "as it was");
  if (saved.images_per_step > 0 && saved.images_per_step != images) {
    throw Error(ErrorKind::usage,
                concat(request_.resume->string(), " was written with ", saved.images_per_step,
                       " images a step (", saved.world_size, " workers), this run has ", images, " (",
                       communicator_.world_size(), " workers)", advice));
  }
  if (saved.steps_per_epoch != schedule_->steps_per_epoch()) {
    throw Error(ErrorKind::usage,
                concat(request_.resume->string(), " was written with ", saved.steps_per_epoch,
                       " steps an epoch, this run has ", schedule_->steps_per_epoch(), advice));
  }
}

void Trainer::open_run() {
  if (!leads()) {
    return;
  }
  directory_.create();
  if (!request_.lock) {
    request_.lock = directory_.lock();
  }
  checkpoints_.remove_unfinished();
  directory_.write_config(request_.config);
  log_.also_to(directory_.log());
  const auto layers = layer_costs(state_->network.layout(), Plan::full(state_->network.layout().sites),
                                  data_.transform.image_size);
  const auto flops_of_image = [this] {
    return kForwardPassesOfAStep * static_cast<double>(state_->cost(training_side()).flops);
  };
  const bool evaluates_again = owes_evaluation_ || state_->steps_done == schedule_->total_steps();
  report_ = std::make_unique<RunReport>(directory_, log_, state_->steps_done, schedule_->total_steps(),
                                        options_.log_every, 4 * total_cost(layers).dense_numel,
                                        flops_of_image, options_.progress, evaluates_again);
  report_->say(concat("slicereduce ", kVersion, " arch=", options_.network.arch,
                      " world_size=", communicator_.world_size(), " images=", data_.train->size(), " steps=",
                      schedule_->total_steps(), " seed=", *options_.seed, " run_dir=", options_.run_dir));
  for (const std::string& note : request_.notes) {
    report_->say(note);
  }
  if (request_.resume) {
    report_->say(concat("resumed from ", request_.resume->string(), " at step=", state_->steps_done));
    for (const auto& path : checkpoints_.set_aside_beyond(state_->steps_done)) {
      log_.warn(concat("of a later step, set aside: ", path.string()));
    }
  }
}

ExitCode Trainer::run() {
  request_.activity->at_step(std::max<std::int64_t>(state_->steps_done, 1));
  try {
    return train_to_the_end();
  } catch (const SharedError&) {
    // Nobody leaves before the last good checkpoint is written.
    request_.activity->enter(Phase::saving);
    together(communicator_, [&] { wait_for_checkpoint(); });
    throw;
  }
}

ExitCode Trainer::train_to_the_end() {
  if (owes_evaluation_ && !finish_epoch()) {
    return stop();
  }
  while (state_->steps_done < schedule_->total_steps()) {
    trace_->before(state_->steps_done + 1);
    train_step();
    keep(trace_->after(state_->steps_done));
    const std::int64_t done = state_->steps_done;
    if (options_.check_replicas_every > 0 && done % options_.check_replicas_every == 0) {
      settlement_->require_equal_replicas();
    }
    const bool stops = done < schedule_->total_steps() && (stop_requested_ || done == options_.stop_after);
    const bool is_due = options_.checkpoint_every > 0 && done % options_.checkpoint_every == 0;
    if (schedule_->ends_epoch(done) && !stops) {
      if (!finish_epoch()) {
        return stop();
      }
    } else if (is_due || stops) {
      checkpoint(/*is_best=*/false);  // an epoch that ends is evaluated by the run that goes on
    }
    if (stops) {
      return stop();
    }
  }
  const bool evaluated = evaluation_->sampled() || evaluation_->dense();
  if (!evaluated && !evaluate_networks()) {  // a finished run that was started again
    return stop();
  }
  finish_checkpoints();
  end_trace();
  write_summary();
  return ExitCode::done;
}

ExitCode Trainer::stop() {
  finish_checkpoints();
  end_trace();
  if (leads()) {
    report_->finish_interval();
    report_->say(
        concat("stopped at step=", state_->steps_done, " on request; --resume auto goes on from there"));
  }
  return ExitCode::stopped;
}

void Trainer::enter(Phase phase) {
  request_.activity->enter(phase);
  request_.faults.strike(request_.activity->beat());
}

void Trainer::train_step() {
  const std::int64_t step = state_->steps_done;
  const ProfileRange range(concat("step ", step + 1));
  const auto started = Clock::now();
  request_.activity->at_step(step + 1);
  request_.faults.strike(request_.activity->beat());
  if (request_.faults.spoils_weights(step + 1)) {
    flip_a_bit(state_->network.parameters().front().value);
  }
  StepRecord record{.step = step + 1, .epoch = schedule_->epoch(step), .lr = schedule_->lr(step)};
  const Batch batch = feed_->next(step);
  record.data_ms = feed_->waited_ms();
  const auto planning = Clock::now();
  const StepPlans plans = state_->plans(step, schedule_->mode(step), schedule_->ratio(step),
                                        captured_ ? captured_->largest() : nullptr);
  record.plan_ms = 1e3 * seconds_since(planning);
  record.sample_ratio = state_->ratio();
  record.global_images = batch.global_count;
  settlement_->before_step();
  record.result = run_step(plans, batch, record.lr);
  if (record.result.finite) {
    settlement_->was_finite();
  } else {
    settlement_->settle_nonfinite(record.result.loss);
  }
  feed_->was_busy(busy_ms(record.result.times));
  stop_requested_ = record.result.stop_requested;
  state_->steps_done = step + 1;
  state_->recalibrated.reset();
  images_ += batch.global_count;
  train_seconds_ += seconds_since(started);
  wire_bytes_per_step_ = record.result.wire_bytes;
  if (leads()) {
    report_->step(record);
  }
}

MicrobatchSource Trainer::microbatches(const Batch& batch) const {
  const auto parts = even_parts(batch.labels.numel(), options_.step.batch_size);
  return {
      parts.size(), [this, parts, &batch](std::size_t part) {
        const auto& [first, size] = parts.at(part);
        at::Tensor images =
            normalize(batch.images.narrow(0, first, size).to(request_.device, /*non_blocking=*/true),
                      data_.normalization, image_type(options_.step));
        if (request_.faults.spoils_images(state_->steps_done + 1)) {
          images = at::full_like(images, std::numeric_limits<float>::quiet_NaN());
        }
        return Microbatch{
            .images = images,
            .labels = batch.labels.narrow(0, first, size).to(request_.device, /*non_blocking=*/true),
            .weight = static_cast<double>(size * communicator_.world_size()) /
                      static_cast<double>(batch.global_count),
            .number = communicator_.rank() + communicator_.world_size() * static_cast<std::int64_t>(part)};
      }};
}

StepResult Trainer::run_step(const StepPlans& plans, const Batch& batch, double lr) {
  const MicrobatchSource parts = microbatches(batch);
  const bool wants_stop = request_.stop_requested();
  const auto result = captured_ ? captured_->run(plans, parts, lr, wants_stop,
                                                 [&] { feed_->prefetch_after(state_->steps_done); })
                                : step_->run(plans, parts, lr, wants_stop);
  if (result) {
    return *result;
  }
  settlement_->settle_plans();
  const auto again = step_->run(plans, parts, lr, wants_stop);
  require(again.has_value(), "ranks disagree about a plan that one of them sent");
  return *again;
}

bool Trainer::finish_epoch() {
  checkpoint(/*is_best=*/false);  // an evaluation can take longer than a scheduler's grace
  if (!evaluate_networks()) {
    return false;
  }
  const double top1 = evaluation_->result() ? evaluation_->result()->top1 : -1;
  const bool is_best = top1 > state_->best_top1;
  if (is_best) {
    state_->best_top1 = top1;
  }
  checkpoint(is_best);
  return true;
}

bool Trainer::evaluate_networks() {
  const ProfileRange range("evaluation");
  enter(Phase::evaluating);
  if (leads()) {
    report_->finish_interval();
  }
  const std::int64_t epoch = schedule_->epoch(state_->steps_done - 1);
  feed_->lend_loader();
  return evaluation_->run(
      epoch, request_.stop_requested, [&](const std::string& network, const Accuracy& accuracy) {
        if (leads()) {
          const bool is_result = (network == "sampled") == evaluation_->result_is_sampled();
          report_->evaluation(state_->steps_done, epoch, network, accuracy, train_seconds_, is_result);
        }
      });
}

void Trainer::checkpoint(bool is_best) {
  const ProfileRange range("checkpoint");
  enter(Phase::saving);
  average_statistics(state_->network.statistics(), communicator_);
  settlement_->require_equal_replicas();
  settlement_->require_finite_network();
  Manifest manifest{.version = kVersion, .seed = *options_.seed, .options = request_.config};
  manifest.image_size = data_.transform.image_size;
  manifest.steps_per_epoch = schedule_->steps_per_epoch();
  manifest.images_per_step = options_.images_per_step(communicator_.world_size());
  if (!evaluation_->is_of_before() && evaluation_->result()) {
    manifest.top1 = evaluation_->result()->top1;
  }
  together(communicator_, [&] {
    writer_->wait();  // what is owed is copied once at a time
    Checkpoint content = state_->checkpoint(std::move(manifest), communicator_.world_size());
    content.factors = state_by_slot(reducer_->remembered());
    writer_->take(std::move(content), state_->debts());
  });
  writer_->start(is_best);
}

void Trainer::wait_for_checkpoint() { writer_->wait(); }

void Trainer::end_trace() {
  keep(trace_->end());
  if (leads() && options_.trace > 0 && state_->steps_done < trace_->first_step()) {
    log_.warn(concat("no trace: it would have begun with step ", trace_->first_step(),
                     ", and the run has ended before"));
  }
}

void Trainer::keep(const std::optional<std::string>& trace) {
  if (!trace) {
    return;
  }
  try {
    const auto path = directory_.write_trace(trace_->first_step(), *trace);
    report_->say(concat("trace=", path.string(), ", to be opened at ui.perfetto.dev"));
  } catch (const Error& problem) {
    log_.warn(concat("no trace: ", problem.what()));
  }
}

void Trainer::finish_checkpoints() {
  request_.activity->enter(Phase::saving);
  together(communicator_, [&] { writer_->finish(); });
}

std::int64_t Trainer::training_side() const {
  const std::int64_t scheduled = schedule_->image_size(std::max<std::int64_t>(state_->steps_done - 1, 0));
  return scheduled > 0 ? scheduled : data_.transform.image_size;
}

// Several ranks may have met the same picture, in several epochs.
std::int64_t Trainer::count_bad_images() const {
  std::string own;
  for (const auto& [loader, split] :
       {std::pair(loader_.get(), "t"), std::pair(validation_loader_.get(), "v")}) {
    for (const auto& [index, why] : loader->bad_images()) {
      own += concat(split, index, " ");
    }
  }
  std::set<std::string> all;
  for (const std::string& of_rank : allgather_texts(communicator_, own)) {
    std::istringstream words(of_rank);
    all.insert(std::istream_iterator<std::string>(words), {});
  }
  return static_cast<std::int64_t>(all.size());
}

void Trainer::write_summary() {
  const std::int64_t bad_images = count_bad_images();
  together(communicator_, [&] {
    if (leads()) {
      directory_.write_summary(run_summary(options_, communicator_.world_size(), training_side(), *state_,
                                           {.sampled = evaluation_->sampled(),
                                            .dense = evaluation_->dense(),
                                            .result = evaluation_->result(),
                                            .epochs = static_cast<double>(state_->steps_done) /
                                                      static_cast<double>(schedule_->steps_per_epoch()),
                                            .wire_bytes_per_step = wire_bytes_per_step_,
                                            .images = images_,
                                            .bad_images = bad_images,
                                            .train_s = train_seconds_,
                                            .wall_s = seconds_since(request_.started)}));
    }
  });
}

std::optional<std::filesystem::path> checkpoint_to_resume(const TrainOptions& options,
                                                          Communicator& communicator, const Log& log) {
  std::string chosen;
  together(communicator, [&] {
    if (communicator.rank() != 0) {
      return;
    }
    const CheckpointFolder folder(RunDirectory(options.run_dir).checkpoints(), options.keep);
    if (options.resume == "none") {
      if (!folder.empty()) {
        throw Error(ErrorKind::usage, concat(options.run_dir,
                                             " holds a run already: choose another --run-dir, or go on "
                                             "with it by --resume auto"));
      }
    } else if (options.resume == "auto") {
      const auto newest =
          folder.newest_valid([&](const std::string& problem) { log.warn("passed over: " + problem); });
      chosen = newest ? newest->string() : "";
      if (!newest && !folder.empty()) {
        throw Error(ErrorKind::input,
                    concat(options.run_dir, " holds only damaged checkpoints: choose another --run-dir"));
      }
    } else {
      (void)load_manifest(options.resume);
      chosen = options.resume;
    }
  });
  const std::string agreed = allgather_texts(communicator, chosen).front();
  return agreed.empty() ? std::nullopt : std::optional<std::filesystem::path>(agreed);
}

}  // namespace slicereduce
