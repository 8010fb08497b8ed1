#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "launcher/step_prediction.hpp"
#include "models/cost.hpp"

namespace slicereduce {

/// A ratio of --compare, and what a step has with it.
struct RatioCost {
  double ratio = 1;
  LayerCost total;
  double allreduce_ms = 0;
};

/// What --sweep asks for one link and number of workers: a whole step where compute was measured, else
/// the AllReduce alone.
struct SweepCell {
  double link_gbit = 0;
  double latency_us = 0;
  std::int64_t world_size = 1;
  double ours_ms = 0;
  double ddp_ms = 0;  ///< DistributedDataParallel with its bf16 hook
};

/// For a number of workers, up to where a step is faster than DDP's with the bf16 hook.
struct WorthIt {
  std::int64_t world_size = 1;
  BreakEven at;
};

/// What `plan` knows of a configuration, to be told to people or programs.
struct PlanFigures {
  std::string arch;
  std::string wire;  ///< its type
  std::int64_t image_size = 0;
  bool exact = true;  ///< every step has these figures
  std::vector<LayerCost> layers;
  std::int64_t number_bytes = 4;

  // The network between workers
  std::int64_t world_size = 1;
  std::int64_t ranks_per_node = 1;
  double link_gbit = 0;
  double latency_us = 0;
  double allreduce_ms = 0;
  double dense_bf16_allreduce_ms = 0;
  double dense_fp32_allreduce_ms = 0;

  // Where they were asked for, or can be told
  std::vector<StepPrediction> predictions;
  std::vector<RatioCost> ratios;
  std::vector<SweepCell> sweep;
  bool sweeps_steps = false;  ///< else AllReduces
  std::vector<WorthIt> worth_it;
};

struct TextStyle {
  bool colour = false;  ///< ANSI's
  bool bars = false;    ///< a bar a layer: its bytes, and what is left of them. In UTF-8
};

/// Tables of at most 120 columns.
void print_text(const PlanFigures& figures, TextStyle style, std::ostream& out);

[[nodiscard]] nlohmann::ordered_json to_json(const PlanFigures& figures);

}  // namespace slicereduce
