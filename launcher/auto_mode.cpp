#include "launcher/auto_mode.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iomanip>
#include <numeric>

#include "comm/in_process.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "launcher/link_probe.hpp"
#include "launcher/step_prediction.hpp"
#include "launcher/step_timing.hpp"
#include "launcher/typical_step.hpp"

namespace slicereduce {

namespace {

/// As short as an option is written by hand.
std::string number(double value) { return concat(value); }

std::string milliseconds(double ms) { return concat(std::fixed, std::setprecision(1), ms, " ms"); }

Candidate candidate_of(const TrainOptions& options, const std::string& mode, double ratio,
                       const std::string& reduce) {
  Candidate candidate{.network = options.network, .step = options.step};
  candidate.network.mode = mode;
  candidate.network.size.ratio = ratio;
  candidate.network.wire = options.network.wire == "fp32" ? "bf16" : options.network.wire;
  if (mode != "feedback") {
    candidate.network.slice_output_ratio = 1;
  }
  candidate.step.reduce = reduce;
  return candidate;
}

/// Whether options beside it, the sampler's above all, go with a mode.
bool allows(const TrainOptions& options, Mode mode) {
  try {
    options.network.validate(mode);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Shares of the channels that compact may keep: the least one, and one in between, in case less arithmetic
/// does not make a step shorter.
std::vector<double> compact_ratios(double least) {
  return least < 1 ? std::vector<double>{(1 + least) / 2, least} : std::vector<double>{};
}

double predicted_ms(const Candidate& candidate, const InputShape& input, const StepCompute& compute,
                    const Link& link, int ranks) {
  const Layout layout = candidate.network.layout(input.channels, input.classes);
  const auto layers = TypicalStep(candidate.network, layout).costs(candidate.step, input.size);
  const ReducerConfig reducer = reducer_config(candidate.network, candidate.step);
  const Sending sending{.wire = reducer.wire, .capacity = reducer.capacity()};
  return predict_step_ms(layers, sending, compute, {.link = link}, ranks);
}

TimedSteps timed(const Candidate& candidate, const InputShape& input, std::int64_t steps) {
  return {.network = candidate.network,
          .step = candidate.step,
          .in_channels = input.channels,
          .image_size = input.size,
          .classes = input.classes,
          .warmup = 1,
          .steps = steps};
}

/// Collective. The slowest rank's, each without the others.
StepCompute compute_alone(const Candidate& candidate, const InputShape& input, at::Device device,
                          Communicator& communicator) {
  constexpr std::int64_t kSteps = 3;
  InProcessGroup alone(1);
  const StepTiming timing = time_steps(timed(candidate, input, kSteps), device, alone.rank(0));
  return step_compute(
      [&](const std::string& part) { return timing.quantile_of_ranks(part, 0.5, communicator); });
}

/// Collective.
double measured_ms(const Candidate& candidate, const InputShape& input, at::Device device,
                   Communicator& communicator) {
  constexpr std::int64_t kSteps = 5;
  const StepTiming timing = time_steps(timed(candidate, input, kSteps), device, communicator);
  return timing.quantile_of_ranks("step_ms", 0.5, communicator);
}

/// Those that are worth a run, as places in `candidates`.
std::vector<std::size_t> best_predicted(std::span<const Candidate> candidates) {
  constexpr std::size_t kRuns = 3;
  std::vector<std::size_t> places(candidates.size());
  std::iota(places.begin(), places.end(), 0U);
  std::ranges::stable_sort(places, {}, [&](std::size_t i) { return candidates[i].predicted_ms; });
  places.resize(std::min(places.size(), kRuns));
  return places;
}

std::string describe(const Link& link) {
  return concat("auto: link of ", std::setprecision(3), link.bytes_per_s * 8e-9, " Gbit/s, latency ",
                std::lround(link.latency_s * 1e6), " us");
}

std::string describe_times(const Candidate& candidate) {
  const std::string measured =
      candidate.measured_ms > 0 ? concat(", measured ", milliseconds(candidate.measured_ms)) : "";
  return concat("auto: ", candidate.describe(), ": predicted ", milliseconds(candidate.predicted_ms),
                measured);
}

}  // namespace

std::string Candidate::describe() const {
  const std::string ratio =
      network.mode == "dense" ? "" : concat(" ", network.size.ratio * network.slice_output_ratio);
  const std::string factors =
      step.reduce == "powersgd" ? concat(", factors of rank ", step.powersgd_rank) : "";
  return concat(network.mode, ratio, factors, ", ", network.wire, ", buckets of ", step.bucket_mb, " MB");
}

ChosenOptions Candidate::chosen() const {
  return {{"--mode", network.mode},
          {"--sample-ratio", number(network.size.ratio)},
          {"--slice-output-ratio", number(network.slice_output_ratio)},
          {"--wire", network.wire},
          {"--reduce", step.reduce},
          {"--powersgd-rank", number(static_cast<double>(step.reduce == "powersgd" ? step.powersgd_rank
                                                                                   : kDefaultPowersgdRank))},
          {"--bucket-mb", number(step.bucket_mb)},
          {"--auto-ratio", "1"}};  // it has served
}

std::vector<Candidate> auto_candidates(const TrainOptions& options) {
  const double sent = options.network.size.ratio * options.network.slice_output_ratio;
  const bool cuts = sent < 1 && allows(options, Mode::feedback);
  const auto compact =
      allows(options, Mode::compact) ? compact_ratios(options.auto_ratio) : std::vector<double>{};
  std::vector<Candidate> candidates;
  const auto add_whole_network = [&](const std::string& reduce) {
    candidates.push_back(candidate_of(options, "dense", options.network.size.ratio, reduce));
    if (cuts) {
      candidates.push_back(candidate_of(options, "feedback", options.network.size.ratio, reduce));
    }
  };
  add_whole_network("slices");
  add_whole_network("powersgd");
  for (const double ratio : compact) {
    candidates.push_back(candidate_of(options, "compact", ratio, "slices"));
    candidates.push_back(candidate_of(options, "compact", ratio, "powersgd"));
  }
  return candidates;
}

Candidate with_best_wire(Candidate candidate, const TrainOptions& options, const InputShape& input,
                         const StepCompute& compute, const Link& link, int ranks) {
  const auto best_bucket = [&](Candidate variant) {
    Candidate best = variant;
    best.predicted_ms = INFINITY;
    for (const double mb : {0.25, 1.0, 4.0, 16.0}) {
      variant.step.bucket_mb = mb;
      variant.predicted_ms = predicted_ms(variant, input, compute, link, ranks);
      best = variant.predicted_ms < best.predicted_ms ? variant : best;
    }
    return best;
  };
  const Candidate narrow = best_bucket(candidate);
  if (options.network.wire != "fp32") {
    return narrow;
  }
  constexpr double kNextToNothing = 1.01;
  candidate.network.wire = "fp32";
  const Candidate exact = best_bucket(candidate);
  return exact.predicted_ms <= kNextToNothing * narrow.predicted_ms ? exact : narrow;
}

const Candidate& most_exact_of_fastest(std::span<const Candidate> candidates) {
  constexpr double kAsFast = 1.03;
  double best_ms = INFINITY;
  for (const Candidate& candidate : candidates) {
    best_ms = candidate.measured_ms > 0 ? std::min(best_ms, candidate.measured_ms) : best_ms;
  }
  const auto found = std::ranges::find_if(candidates, [&](const Candidate& candidate) {
    return candidate.measured_ms > 0 && candidate.measured_ms <= kAsFast * best_ms;
  });
  require(found != candidates.end(), "mode auto has run no candidate");
  return *found;
}

ModeChoice choose_mode(const TrainOptions& options, const InputShape& input, at::Device device,
                       Communicator& communicator, const Log& log) {
  std::vector<Candidate> candidates = auto_candidates(options);
  if (communicator.rank() == 0) {
    log.info(concat("auto: timing ", candidates.size(), " ways to run a step"));
  }
  const auto timeout = reducer_config(options.network, options.step).timeout;
  const Link link = measure_link(communicator, timeout);
  for (Candidate& candidate : candidates) {
    const StepCompute compute = compute_alone(candidate, input, device, communicator);
    candidate = with_best_wire(candidate, options, input, compute, link, communicator.world_size());
  }
  for (const std::size_t place : best_predicted(candidates)) {
    candidates[place].measured_ms = measured_ms(candidates[place], input, device, communicator);
  }
  const Candidate& chosen = most_exact_of_fastest(candidates);
  ModeChoice choice{.options = chosen.chosen(), .reasons = {describe(link)}};
  for (const Candidate& candidate : candidates) {
    choice.reasons.push_back(describe_times(candidate));
  }
  choice.reasons.push_back(concat("auto: chose ", chosen.describe()));
  return choice;
}

}  // namespace slicereduce
