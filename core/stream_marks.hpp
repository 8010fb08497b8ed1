#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <cstddef>
#include <memory>

namespace slicereduce {

/// Numbered points in what a device is given to do, whose times can be told once it has passed them; each may
/// be recorded again, run after run. Recorded while a stream is captured, they are passed whenever the graph
/// runs. Nothing here waits.
class StreamMarks {
 public:
  virtual ~StreamMarks() = default;

  /// In `stream`; on the CPU, where what is given is done, now.
  virtual void record(std::size_t mark, c10::Stream stream) = 0;
  /// In the current stream of the device.
  void record(std::size_t mark);
  /// Whether it was passed since it was recorded last, not in a graph. True of one that never was recorded.
  [[nodiscard]] virtual bool passed(std::size_t mark) const = 0;
  /// From when one was passed last to when another was; negative where that was before. Both were.
  [[nodiscard]] virtual double ms_between(std::size_t from, std::size_t to) const = 0;

 protected:
  explicit StreamMarks(c10::Device device) : device_(device) {}

 private:
  c10::Device device_;
};

/// Throws Error(invariant) where this build has none for `device`.
[[nodiscard]] std::unique_ptr<StreamMarks> make_stream_marks(c10::Device device, std::size_t count);

}  // namespace slicereduce
