#include "launcher/step_trace.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>
#include <vector>

#include "core/host_name.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

std::int64_t nanoseconds(Clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

std::int64_t now() { return nanoseconds(Clock::now()); }

/// A rank's "process", as viewers call it. They give 0 a meaning of its own, want a number of a row to be of
/// one process alone, and take the row that has its process' number for the main thread.
std::int64_t process_of(int rank) {
  constexpr std::int64_t kMostRows = 10'000;
  return (rank + 1) * kMostRows;
}

/// The calling thread's first, then by name, "AllReduce 10" behind "AllReduce 9".
std::map<std::string, std::int64_t> number_rows(const std::vector<TimelineEvent>& events, int rank) {
  const std::string& first = name_of_this_thread();
  std::vector<std::string> rows;
  for (const TimelineEvent& event : events) {
    rows.push_back(event.row);
  }
  std::ranges::sort(rows, {}, [&](const std::string& row) {
    const auto number = std::ranges::find_if(row, [](char c) { return c >= '0' && c <= '9'; });
    return std::tuple(row != first, std::string(row.begin(), number), row.size(), row);
  });
  const auto repeated = std::ranges::unique(rows);
  rows.erase(repeated.begin(), repeated.end());
  std::map<std::string, std::int64_t> numbers;
  for (const std::string& row : rows) {
    numbers.emplace(row, process_of(rank) + static_cast<std::int64_t>(numbers.size()));
  }
  return numbers;
}

Json metadata(const char* what, int rank, std::int64_t row, const char* key, const Json& value) {
  return {{"ph", "M"}, {"name", what}, {"pid", process_of(rank)}, {"tid", row}, {"args", {{key, value}}}};
}

/// Objects of traceEvents, with commas between them.
std::string text_of(const std::vector<TimelineEvent>& events, int rank, const ClockOffset& earlier,
                    const ClockOffset& later) {
  constexpr double kNanosecondsOfTs = 1e3;
  const auto rows = number_rows(events, rank);
  std::vector<Json> objects;
  objects.push_back(
      metadata("process_name", rank, process_of(rank), "name", concat("rank ", rank, " on ", host_name())));
  objects.push_back(metadata("process_sort_index", rank, process_of(rank), "sort_index", rank));
  objects.push_back(metadata("process_labels", rank, process_of(rank), "labels",
                             concat("clock within ", std::max(earlier.bound, later.bound) / 1000, " us")));
  for (const auto& [name, row] : rows) {
    objects.push_back(metadata("thread_name", rank, row, "name", name));
    objects.push_back(metadata("thread_sort_index", rank, row, "sort_index", row));
  }
  for (const TimelineEvent& event : events) {
    const std::int64_t began = at_rank0(nanoseconds(event.began), earlier, later);
    const std::int64_t ended = at_rank0(nanoseconds(event.ended), earlier, later);
    Json object{{"ph", "X"},
                {"name", event.name},
                {"pid", process_of(rank)},
                {"tid", rows.at(event.row)},
                {"ts", static_cast<double>(began) / kNanosecondsOfTs},
                {"dur", static_cast<double>(ended - began) / kNanosecondsOfTs}};
    if (!event.detail.empty()) {
      object["args"] = {{"detail", event.detail}};
    }
    objects.push_back(std::move(object));
  }
  std::string text;
  for (const Json& object : objects) {
    text += text.empty() ? "" : ",\n";
    text += object.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return text;
}

}  // namespace

StepTrace::StepTrace(std::int64_t steps_done, std::int64_t steps, Communicator& communicator)
    : first_(steps_done + kStepsBefore + 1), last_(first_ + steps - 1), communicator_(communicator) {}

void StepTrace::before(std::int64_t step) {
  if (step == first_ && last_ >= first_) {
    name_this_thread("training");
    clock_at_start_ = measure_clock(communicator_, now);
    timeline_ = std::make_unique<Timeline>();
  }
}

std::optional<std::string> StepTrace::after(std::int64_t step) {
  return step == last_ ? end() : std::nullopt;
}

std::optional<std::string> StepTrace::end() {
  if (!timeline_) {
    return std::nullopt;
  }
  const auto events = timeline_->take();
  timeline_.reset();
  const ClockOffset clock_at_end = measure_clock(communicator_, now);
  const auto texts = gather_texts(
      communicator_, text_of(events, communicator_.rank(), clock_at_start_, clock_at_end), /*root=*/0);
  if (texts.empty()) {
    return std::nullopt;
  }
  std::string all = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  for (const std::string& text : texts) {
    all += text;
    all += &text == &texts.back() ? "\n]}\n" : ",\n";
  }
  return all;
}

}  // namespace slicereduce
