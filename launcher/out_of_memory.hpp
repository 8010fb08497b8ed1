#pragma once

#include <c10/core/Device.h>
#include <c10/util/Exception.h>

#include <cstdint>

#include "core/error.hpp"

namespace slicereduce {

/// What to tell a user whose step with `images` images at once asked `device` for more memory than it has.
[[nodiscard]] Error does_not_fit(std::int64_t images, c10::Device device,
                                 const c10::OutOfMemoryError& failure);

}  // namespace slicereduce
