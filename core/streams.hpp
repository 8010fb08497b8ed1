#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <optional>

namespace slicereduce {

/// The stream of `device` that this thread gives work to.
[[nodiscard]] c10::Stream current_stream(c10::Device device);
/// Another one, whose work runs beside that of the default stream; nothing on the CPU.
[[nodiscard]] std::optional<c10::Stream> stream_beside(c10::Device device);
/// What the current stream is given next comes after what `earlier`, of the same device, was given so far.
void go_on_after(c10::Stream earlier);

}  // namespace slicereduce
