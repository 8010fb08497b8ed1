#include "launcher/run_report.hpp"

#include <unistd.h>

#include <iomanip>
#include <sstream>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"
#include "core/units.hpp"

namespace slicereduce {

namespace {

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

/// On standard error, where the log is, too. mpirun makes a pipe of it, so only the user knows whether there
/// is a terminal behind that; and always a terminal of standard output, with the width of its own.
Progress make_bar(const std::string& progress) {
  constexpr int kNowhere = -1;
  if (progress == "lines") {
    return Progress(kNowhere);
  }
  return progress == "bar" && ::isatty(STDERR_FILENO) == 0 ? Progress(STDERR_FILENO, STDOUT_FILENO)
                                                           : Progress(STDERR_FILENO);
}

}  // namespace

double RunReport::Interval::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

double RunReport::Interval::mean_step_ms() const {
  return (data_ms + plan_ms + times.gather_ms + times.forward_ms + times.backward_ms + times.exposed_comm_ms +
          times.optimizer_ms) /
         static_cast<double>(steps);
}

double RunReport::Interval::mean_loss() const { return loss / static_cast<double>(steps - skipped); }

RunReport::RunReport(const RunDirectory& directory, Log log, std::int64_t steps_done,
                     std::int64_t total_steps, std::int64_t log_every, std::int64_t dense_bytes,
                     std::function<double()> flops_of_image, const std::string& progress,
                     bool evaluates_again)
    : log_(std::move(log)),
      metrics_(MetricsLog::resume(directory.metrics(), steps_done, evaluates_again ? "network" : "")),
      progress_(make_bar(progress)),
      total_steps_(total_steps),
      log_every_(log_every),
      dense_bytes_(dense_bytes),
      flops_of_image_(std::move(flops_of_image)) {
  if (progress_.draws()) {
    log_.hide_details();
  }
}

void RunReport::step(const StepRecord& record) {
  interval_.steps += 1;
  interval_.images += record.global_images;
  if (record.result.finite) {
    interval_.loss += record.result.loss;
  } else {
    interval_.skipped += 1;
  }
  interval_.data_ms += record.data_ms;
  interval_.plan_ms += record.plan_ms;
  interval_.last = record;
  const StepTimes& times = record.result.times;
  interval_.times.gather_ms += times.gather_ms;
  interval_.times.forward_ms += times.forward_ms;
  interval_.times.backward_ms += times.backward_ms;
  interval_.times.exposed_comm_ms += times.exposed_comm_ms;
  interval_.times.comm_ms += times.comm_ms;
  interval_.times.optimizer_ms += times.optimizer_ms;
  interval_.wire_bytes += static_cast<double>(record.result.wire_bytes);
  progress_.update(progress());
  if (record.step % log_every_ == 0 || record.step == total_steps_) {
    finish_interval();
  }
}

ProgressState RunReport::progress() const {
  const double seconds = interval_.seconds();
  const auto steps = static_cast<double>(interval_.steps);
  return {.step = interval_.last.step,
          .total_steps = total_steps_,
          .loss = interval_.mean_loss(),
          .images_per_s = static_cast<double>(interval_.images) / seconds,
          .wire_bytes_per_s = interval_.wire_bytes / seconds,
          .exposed = interval_.times.exposed_comm_ms / steps / interval_.mean_step_ms(),
          .top1 = top1_};
}

void RunReport::finish_interval() {
  if (interval_.steps == 0) {
    return;
  }
  const StepRecord& record = interval_.last;
  const auto steps = static_cast<double>(interval_.steps);
  const double images_per_s = static_cast<double>(interval_.images) / interval_.seconds();
  const double loss = interval_.mean_loss();
  const StepTimes& sum = interval_.times;
  const double step_ms = interval_.mean_step_ms();
  write({{"step", record.step},
         {"epoch", record.epoch},
         {"loss", loss},
         {"skipped_steps", interval_.skipped},
         {"lr", record.lr},
         {"sample_ratio", record.sample_ratio},
         {"images_per_s", images_per_s},
         {"step_ms", step_ms},
         {"data_ms", interval_.data_ms / steps},
         {"plan_ms", interval_.plan_ms / steps},
         {"gather_ms", sum.gather_ms / steps},
         {"forward_ms", sum.forward_ms / steps},
         {"backward_ms", sum.backward_ms / steps},
         {"exposed_comm_ms", sum.exposed_comm_ms / steps},
         {"comm_ms", sum.comm_ms / steps},
         {"optimizer_ms", sum.optimizer_ms / steps},
         {"wire_bytes", record.result.wire_bytes},
         {"dense_bytes", dense_bytes_},
         {"flops", flops_of_image_() * static_cast<double>(record.global_images)}});
  log_.detail(concat("step=", record.step, "/", total_steps_, " epoch=", record.epoch,
                     " loss=", fixed(loss, 4), " lr=", fixed(record.lr, 5),
                     " images_per_s=", fixed(images_per_s, 0), " step_ms=", fixed(step_ms, 1),
                     " exposed_comm_ms=", fixed(sum.exposed_comm_ms / steps, 1),
                     " wire_mb=", fixed(static_cast<double>(record.result.wire_bytes) / 1e6, 2)));
  interval_ = Interval{};
}

/// A line that is missing is no reason to end a run.
void RunReport::write(const nlohmann::ordered_json& line) {
  try {
    metrics_.write(line);
    loses_metrics_ = false;
  } catch (const Error& problem) {
    if (!std::exchange(loses_metrics_, true)) {
      log_.warn(concat(problem.what(), "; lines are missing until that can be written again"));
    }
  }
}

void RunReport::evaluation(std::int64_t step, std::int64_t epoch, const std::string& network,
                           const Accuracy& accuracy, double train_s, bool is_result) {
  if (is_result || !top1_) {
    top1_ = accuracy.top1;
  }
  write({{"step", step},
         {"epoch", epoch},
         {"network", network},
         {"top1", accuracy.top1},
         {"top5", accuracy.top5},
         {"val_loss", accuracy.val_loss},
         {"train_s", train_s}});
  say(concat("epoch=", epoch, " network=", network, " top1=", fixed(accuracy.top1, 2),
             " top5=", fixed(accuracy.top5, 2), " val_loss=", fixed(accuracy.val_loss, 4),
             " images=", accuracy.images));
  interval_ = Interval{};  // its time is no step's
}

void RunReport::say(const std::string& line) {
  progress_.clear();
  log_.info(line);
}

}  // namespace slicereduce
