#pragma once

#include "core/host_device.hpp"

namespace slicereduce {

/// ReLU. What is no number stays none, as in PyTorch.
template <typename T>
SLICEREDUCE_HOST_DEVICE inline T rectified(T number) {
  return static_cast<float>(number) <= 0 ? T(0.0F) : number;
}

/// Its gradient, told from what it gave.
template <typename T>
SLICEREDUCE_HOST_DEVICE inline T gated(T gradient, T rectified) {
  return static_cast<float>(rectified) <= 0 ? T(0.0F) : gradient;
}

}  // namespace slicereduce
