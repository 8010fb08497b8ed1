#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/log.hpp"
#include "core/metrics_log.hpp"
#include "core/progress.hpp"
#include "launcher/evaluation.hpp"
#include "launcher/run_directory.hpp"
#include "launcher/training_step.hpp"

namespace slicereduce {

/// A step as the report sees it: rank 0's times, bytes and loss.
struct StepRecord {
  std::int64_t step = 0;  ///< steps done
  std::int64_t epoch = 0;
  double lr = 0;
  double sample_ratio = 1;
  double data_ms = 0;
  double plan_ms = 0;
  std::int64_t global_images = 0;
  StepResult result;
};

/// What a run tells people and programs: log lines, the bar, metrics.jsonl. Rank 0's.
class RunReport {
 public:
  /// Lines of `metrics.jsonl` beyond `steps_done` are taken off: that part is run again; so are the
  /// evaluation's of that step where it `evaluates_again`. `flops_of_image` tells what a step has just taken
  /// for each image; it is asked where a line is written, not in each step.
  RunReport(const RunDirectory& directory, Log log, std::int64_t steps_done, std::int64_t total_steps,
            std::int64_t log_every, std::int64_t dense_bytes, std::function<double()> flops_of_image,
            const std::string& progress, bool evaluates_again = false);

  /// After every step.
  void step(const StepRecord& record);
  /// `network` is "sampled" or "dense"; `is_result`: the one that --eval-network auto chooses. Percentages.
  void evaluation(std::int64_t step, std::int64_t epoch, const std::string& network, const Accuracy& accuracy,
                  double train_s, bool is_result = true);
  /// Logs the steps since the last logged one, if there are any: before something that is no step.
  void finish_interval();
  /// A line that the bar must not run into.
  void say(const std::string& line);

 private:
  /// Since the last logged step: metrics.jsonl has means over it, so that no step goes unseen.
  struct Interval {
    std::int64_t steps = 0;
    std::int64_t skipped = 0;  ///< of them, by --on-nonfinite skip
    std::int64_t images = 0;
    double loss = 0;  ///< the sum of the others'
    double data_ms = 0;
    double plan_ms = 0;
    double wire_bytes = 0;
    StepTimes times;
    StepRecord last;
    std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
    [[nodiscard]] double seconds() const;
    /// Of one step: the sum of the parts that follow each other.
    [[nodiscard]] double mean_step_ms() const;
    /// Not a number where all were skipped.
    [[nodiscard]] double mean_loss() const;
  };

  [[nodiscard]] ProgressState progress() const;
  void write(const nlohmann::ordered_json& line);

  Log log_;
  MetricsLog metrics_;
  bool loses_metrics_ = false;
  Progress progress_;
  std::int64_t total_steps_;
  std::int64_t log_every_;
  std::int64_t dense_bytes_;
  std::function<double()> flops_of_image_;
  std::optional<double> top1_;  ///< of the last evaluation of the run's result, or else of any
  Interval interval_;
};

}  // namespace slicereduce
