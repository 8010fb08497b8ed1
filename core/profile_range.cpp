#include "core/profile_range.hpp"

#include <utility>

#include "core/cuda_runtime.hpp"
#include "core/timeline.hpp"

namespace slicereduce {

namespace {

using Clock = std::chrono::steady_clock;

std::optional<Clock::time_point> now_if_recorded() {
  return Timeline::records() ? std::optional(Clock::now()) : std::nullopt;
}

}  // namespace

ProfileRange::ProfileRange(std::string name) : name_(std::move(name)), began_(now_if_recorded()) {
  push_nvtx_range(name_.c_str());
}

ProfileRange::~ProfileRange() {
  pop_nvtx_range();
  if (began_) {
    Timeline::record(
        {.name = std::move(name_), .row = name_of_this_thread(), .began = *began_, .ended = Clock::now()});
  }
}

ProfileSpan::ProfileSpan(std::string name, std::string row, const std::function<std::string()>& detail)
    : name_(std::move(name)),
      row_(std::move(row)),
      nvtx_range_(start_nvtx_range(row_.c_str())),
      began_(now_if_recorded()) {
  if (began_) {
    detail_ = detail();
  }
}

ProfileSpan::~ProfileSpan() {
  end_nvtx_range(nvtx_range_);
  if (began_) {
    Timeline::record({.name = std::move(name_),
                      .row = std::move(row_),
                      .began = *began_,
                      .ended = Clock::now(),
                      .detail = std::move(detail_)});
  }
}

void ProfileSequence::begin() { began_ = now_if_recorded(); }

void ProfileSequence::end_part(const std::string& name) {
  mark_nvtx(name.c_str());
  if (began_) {
    const auto now = Clock::now();
    Timeline::record({.name = name, .row = name_of_this_thread(), .began = *began_, .ended = now});
    began_ = now;
  }
}

}  // namespace slicereduce
