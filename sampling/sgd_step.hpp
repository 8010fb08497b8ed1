#pragma once

#include "core/host_device.hpp"

namespace slicereduce {

/// SGD's numbers for the weights of one parameter.
struct SgdStep {
  float lr = 0;
  float momentum = 0;
  float weight_decay = 0;
};

/// SGD's formula, as SlicedSgd has it, for one weight and its momentum.
template <bool kNesterov>
SLICEREDUCE_HOST_DEVICE inline void update_weight(float gradient, const SgdStep& step, float& weight,
                                                  float& momentum) {
  const float d = gradient + step.weight_decay * weight;
  momentum = step.momentum * momentum + d;
  weight -= step.lr * (kNesterov ? d + step.momentum * momentum : momentum);
}

}  // namespace slicereduce
