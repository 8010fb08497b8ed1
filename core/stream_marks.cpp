#include "core/stream_marks.hpp"

#include <chrono>
#include <vector>

#include "core/cuda_runtime.hpp"
#include "core/error.hpp"
#include "core/streams.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

class HostMarks final : public StreamMarks {
 public:
  HostMarks(c10::Device device, std::size_t count) : StreamMarks(device), times_(count) {}

  void record(std::size_t mark, c10::Stream /*stream*/) override { times_.at(mark) = Clock::now(); }
  [[nodiscard]] bool passed(std::size_t /*mark*/) const override { return true; }
  [[nodiscard]] double ms_between(std::size_t from, std::size_t to) const override {
    return std::chrono::duration<double, std::milli>(times_.at(to) - times_.at(from)).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::time_point> times_;
};

}  // namespace

void StreamMarks::record(std::size_t mark) { record(mark, current_stream(device_)); }

std::unique_ptr<StreamMarks> make_stream_marks(c10::Device device, std::size_t count) {
  if (device.is_cpu()) {
    return std::make_unique<HostMarks>(device, count);
  }
  auto marks = device.is_cuda() ? make_cuda_stream_marks(device, count) : nullptr;
  require(marks != nullptr, "this build has no marks for the streams of its device");
  return marks;
}

}  // namespace slicereduce
