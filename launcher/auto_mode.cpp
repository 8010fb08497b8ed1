#include "launcher/auto_mode.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <iomanip>
#include <numeric>
#include <set>

#include "comm/in_process.hpp"
#include "comm/wire.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "launcher/link_probe.hpp"
#include "launcher/reduction.hpp"
#include "launcher/slowest.hpp"
#include "launcher/step_prediction.hpp"
#include "launcher/step_timing.hpp"
#include "launcher/typical_step.hpp"

namespace slicereduce {

namespace {

/// The shortest text that reads as the same number.
std::string number(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

std::string milliseconds(double ms) { return concat(std::fixed, std::setprecision(1), ms, " ms"); }

Candidate candidate_of(const TrainOptions& options, const std::string& mode, double ratio,
                       const std::string& reduce) {
  Candidate candidate{.network = options.network, .step = options.step};
  candidate.network.mode = mode;
  candidate.network.size.ratio = ratio;
  candidate.network.wire = options.network.wire == "fp32" ? "bf16" : options.network.wire;
  if (mode == "dense") {
    candidate.network.leave_nothing_out();
  }
  if (mode != "feedback") {
    candidate.network.slice_output_ratio = 1;
  }
  candidate.step.reduce = reduce;
  return candidate;
}

/// Whether slices of a gradient have their turn.
bool can_cut(const NetworkOptions& network) {
  return network.ratio(Mode::feedback) * network.slice_output_ratio < 1 &&
         make_sampler(network.sampling(Mode::feedback).sampler)->counts_draws();
}

/// Shares of the channels that compact may keep: the least one, and one in between, in case less arithmetic
/// does not make a step shorter.
std::vector<double> compact_ratios(double least) {
  return least < 1 ? std::vector<double>{(1 + least) / 2, least} : std::vector<double>{};
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
  std::vector<double> parts;
  for (const char* part : kStepParts) {
    parts.push_back(quantile(timing.ms.at(part), 0.5));
  }
  const std::vector<double> slowest = slowest_of_ranks(parts, communicator);
  return step_compute([&](const std::string& part) {
    const auto* const found = std::ranges::find(kStepParts, part);
    return slowest.at(static_cast<std::size_t>(found - kStepParts.begin()));
  });
}

/// Collective.
double measured_ms(const Candidate& candidate, const InputShape& input, at::Device device,
                   Communicator& communicator) {
  constexpr std::int64_t kSteps = 5;
  const StepTiming timing = time_steps(timed(candidate, input, kSteps), device, communicator);
  return timing.quantile_of_ranks("step_ms", 0.5, communicator);
}

/// Those that may be the fastest, for all that a prediction is worth: places in `candidates`.
std::vector<std::size_t> worth_a_run(std::span<const Candidate> candidates) {
  constexpr double kClose = 1.3;
  constexpr std::size_t kLeast = 2;
  constexpr std::size_t kMost = 4;
  std::vector<std::size_t> places(candidates.size());
  std::iota(places.begin(), places.end(), 0U);
  const auto predicted_ms = [&](std::size_t place) { return candidates[place].predicted_ms; };
  std::ranges::stable_sort(places, {}, predicted_ms);
  const auto close = static_cast<std::size_t>(std::ranges::count_if(places, [&](std::size_t place) {
    return predicted_ms(place) <= kClose * predicted_ms(places.front());
  }));
  places.resize(std::clamp(close, std::min(kLeast, places.size()), std::min(kMost, places.size())));
  return places;
}

/// Collective. Rank 0's: what follows from measurements is not left to each rank's arithmetic.
std::vector<std::size_t> agreed(std::vector<std::size_t> places, Communicator& communicator) {
  std::size_t count = places.size();
  communicator.broadcast(std::as_writable_bytes(std::span(&count, 1)), 0);
  places.resize(count);
  communicator.broadcast(std::as_writable_bytes(std::span(places)), 0);
  return places;
}

/// Collective. Rank 0's buckets, likewise: ranks that had others would not understand each other.
void agree_on_buckets(std::vector<Candidate>& candidates, Communicator& communicator) {
  struct Settings {
    double bucket_mb;
    double predicted_ms;
  };
  std::vector<Settings> settings;
  for (const Candidate& candidate : candidates) {
    settings.push_back({.bucket_mb = candidate.step.bucket_mb, .predicted_ms = candidate.predicted_ms});
  }
  communicator.broadcast(std::as_writable_bytes(std::span(settings)), 0);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    candidates[i].step.bucket_mb = settings[i].bucket_mb;
    candidates[i].predicted_ms = settings[i].predicted_ms;
  }
}

std::string describe(const Link& link) {
  return concat("auto: link of ", std::setprecision(3), link.bytes_per_s * 8e-9, " Gbit/s, latency ",
                std::lround(link.latency_s * 1e6), " us");
}

std::string describe_times(const Candidate& candidate) {
  std::string text = concat("auto: ", candidate.describe(), ":");
  if (candidate.predicted_ms > 0) {
    text += concat(" predicted ", milliseconds(candidate.predicted_ms));
  }
  if (candidate.measured_ms > 0) {
    text += concat(candidate.predicted_ms > 0 ? "," : "", " measured ", milliseconds(candidate.measured_ms));
  }
  return text;
}

/// Collective. Runs those at `places`, in turn, and keeps the better of two times: what disturbs a machine
/// for a while must not decide for the whole run. The fastest of them, as rank 0 sees it.
std::size_t run_in_turn(std::vector<Candidate>& candidates, std::span<const std::size_t> places,
                        const InputShape& input, at::Device device, Communicator& communicator) {
  constexpr int kRounds = 2;
  for (int round = 0; round < kRounds; ++round) {
    for (const std::size_t place : places) {
      double& best_ms = candidates[place].measured_ms;
      const double ms = measured_ms(candidates[place], input, device, communicator);
      best_ms = round == 0 ? ms : std::min(best_ms, ms);
    }
  }
  const auto found = static_cast<std::size_t>(&most_exact_of_fastest(candidates) - candidates.data());
  return agreed({found}, communicator).front();
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
          {"--sampler", network.sampler},
          {"--anneal-steps", std::to_string(network.anneal_steps)},
          {"--minimal-k", std::to_string(network.size.minimal_k)},
          {"--channel-multiple", std::to_string(network.size.channel_multiple)},
          {"--channel-block", std::to_string(network.size.channel_block)},
          {"--resample-every", std::to_string(network.resample_every)},
          {"--coupling", network.coupling},
          {"--wire", network.wire},
          {"--reduce", step.reduce},
          {"--powersgd-rank", number(static_cast<double>(step.reduce == "powersgd" ? step.powersgd_rank
                                                                                   : kDefaultPowersgdRank))},
          {"--bucket-mb", number(step.bucket_mb)},
          {"--auto-ratio", "1"}};  // it has served
}

std::vector<Candidate> auto_candidates(const TrainOptions& options) {
  const bool cuts = can_cut(options.network);
  std::vector<Candidate> candidates;
  const auto add = [&](const std::string& mode, double ratio) {
    candidates.push_back(candidate_of(options, mode, ratio, "slices"));
    candidates.push_back(candidate_of(options, mode, ratio, "powersgd"));
  };
  add("dense", 0);
  if (cuts) {
    add("feedback",
        options.network.ratio(Mode::feedback));  // factors of all come nearer to it than a part of it
  }
  for (const double ratio : compact_ratios(options.auto_ratio)) {
    add("compact", ratio);
  }
  return candidates;
}

Candidate with_best_bucket(Candidate candidate, const InputShape& input, const StepCompute& compute,
                           const Link& link, int ranks) {
  const Layout layout = candidate.network.layout(input.channels, input.classes);
  const auto layers = TypicalStep(candidate.network, layout).costs(candidate.step, input.size);
  const Sending sending{.wire = parse_wire_type(candidate.network.wire),
                        .capacity = {},
                        .microbatches = candidate.step.accumulate,
                        .overlaps = candidate.step.overlap == "on"};
  const BestBucket best = best_bucket(layers, sending, compute, {.link = link}, ranks);
  candidate.step.bucket_mb = best.mb;
  candidate.predicted_ms = best.step_ms;
  return candidate;
}

std::vector<Candidate> with_other_settings(const Candidate& candidate, const TrainOptions& options) {
  std::vector<std::string> wires{candidate.network.wire};
  if (options.network.wire == "fp32") {
    wires = {"fp32", "bf16"};
  }
  std::vector<Candidate> all;
  for (const std::string& wire : wires) {
    for (const double bucket_mb : std::set{candidate.step.bucket_mb, StepOptions{}.bucket_mb}) {
      Candidate other = candidate;
      other.network.wire = wire;
      other.step.bucket_mb = bucket_mb;
      other.predicted_ms = 0;
      all.push_back(other);
    }
  }
  return all;
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
    candidate = with_best_bucket(candidate, input, compute, link, communicator.world_size());
  }
  agree_on_buckets(candidates, communicator);
  const std::vector<std::size_t> places = agreed(worth_a_run(candidates), communicator);
  const std::size_t fastest = run_in_turn(candidates, places, input, device, communicator);
  std::vector<Candidate> settings{candidates[fastest]};
  settings[0].network.wire = options.network.wire;  // a single rank has no use for a narrower one
  std::size_t best = 0;
  if (communicator.world_size() > 1) {
    settings = with_other_settings(candidates[fastest], options);
    std::vector<std::size_t> all(settings.size());
    std::iota(all.begin(), all.end(), 0U);
    best = run_in_turn(settings, all, input, device, communicator);
  }
  const Candidate& chosen = settings[best];
  ModeChoice choice{.options = chosen.chosen(), .reasons = {}};
  if (communicator.world_size() > 1) {
    choice.reasons.push_back(describe(link));
    candidates.insert(candidates.end(), settings.begin(), settings.end());
  }
  for (const Candidate& candidate : candidates) {
    choice.reasons.push_back(describe_times(candidate));
  }
  choice.reasons.push_back(concat("auto: chose ", chosen.describe()));
  return choice;
}

}  // namespace slicereduce
