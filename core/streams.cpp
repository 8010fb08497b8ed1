#include "core/streams.hpp"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace slicereduce {

c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

std::optional<c10::Stream> stream_beside(c10::Device device) {
  if (device.is_cpu()) {
    return std::nullopt;
  }
  return c10::impl::VirtualGuardImpl(device.type()).getNewStream(device, /*priority=*/0);
}

void go_on_after(c10::Stream earlier) {
  c10::Event event(earlier.device_type());
  event.record(earlier);
  event.block(current_stream(earlier.device()));
}

}  // namespace slicereduce
