#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/link_model.hpp"
#include "core/log.hpp"
#include "launcher/train_options.hpp"

namespace slicereduce {

/// Options by name, as the command line has them.
using ChosenOptions = std::map<std::string, std::string>;

/// A way to run a step, and what is known of its time.
struct Candidate {
  NetworkOptions network;
  StepOptions step;
  double predicted_ms = 0;
  double measured_ms = 0;  ///< 0: not run

  /// "compact 0.5, factors of rank 4, bf16, buckets of 1 MB".
  [[nodiscard]] std::string describe() const;
  /// What it sets of --mode auto's options.
  [[nodiscard]] ChosenOptions chosen() const;
};

/// The ways that `options`, with --mode auto, allow: the most exact first. Each sends bf16 (fp16 where that
/// is asked for) and is to be tried with other wires and buckets.
[[nodiscard]] std::vector<Candidate> auto_candidates(const TrainOptions& options);

/// What a network's input is.
struct InputShape {
  std::int64_t channels = 3;
  std::int64_t size = 224;
  std::int64_t classes = 1000;
};

/// `candidate` with the bucket size that the model says is fastest, where its compute takes `compute`.
[[nodiscard]] Candidate with_best_bucket(Candidate candidate, const InputShape& input,
                                         const StepCompute& compute, const Link& link, int ranks);

/// `candidate` with what a model does not know, which knows no processor: with the fp32 wire where `options`
/// asks for it and with bf16, with its bucket size and the default one; the most exact first.
[[nodiscard]] std::vector<Candidate> with_other_settings(const Candidate& candidate,
                                                         const TrainOptions& options);

/// Of those that were run, the fastest; a more exact one, which is further ahead in the list, where it is as
/// fast to within 3 %.
[[nodiscard]] const Candidate& most_exact_of_fastest(std::span<const Candidate> candidates);

struct ModeChoice {
  ChosenOptions options;
  std::vector<std::string> reasons;  ///< lines for the log
};

/// Collective. How to run `options`, with --mode auto, on these ranks and their network: each rank times a
/// few steps alone by each candidate, all of them time the link, the model tells the best of them, and those
/// are run; then the fastest with other wires and buckets. The same on all ranks. The training's own state
/// isn't touched.
[[nodiscard]] ModeChoice choose_mode(const TrainOptions& options, const InputShape& input, at::Device device,
                                     Communicator& communicator, const Log& log);

}  // namespace slicereduce
