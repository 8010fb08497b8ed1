#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>

#include "models/network.hpp"
#include "sampling/plan.hpp"

namespace slicereduce::testing {

inline Layout layout_of(const std::string& arch, Coupling coupling = Coupling::block,
                        bool sample_classifier = false) {
  return make_layout(make_architecture(arch, 3, 10), coupling, sample_classifier);
}

/// Every site keeps a random half, by the named sampler.
inline Plan random_plan(const Layout& layout, std::uint64_t step, const std::string& sampler = "uniform") {
  std::vector<std::vector<float>> norms;
  for (const auto& site : layout.sites) {
    norms.emplace_back(site.channels, 1.0F);
  }
  return draw_plan(layout.sites, norms, *make_sampler(sampler),
                   {.ratio = 0.5, .minimal_k = 1, .channel_multiple = 1}, 17, step);
}

inline at::Tensor random_images(std::int64_t count, std::int64_t side) {
  return at::randn({count, 3, side, side}).contiguous(at::MemoryFormat::ChannelsLast);
}

/// Batch norm's weights and statistics start alike in every channel, where mixing channels up would not show.
inline void shake_norms(Network& network) {
  for (auto& parameter : network.parameters()) {
    if (parameter.shape.vector) {
      parameter.value.add_(at::randn_like(parameter.value) * 0.2);
    }
  }
  for (std::size_t i = 0; i < network.statistics().mean.size(); ++i) {
    network.statistics().mean[i].normal_(0, 0.1);
    network.statistics().variance[i].uniform_(0.5, 1.5);
  }
}

}  // namespace slicereduce::testing
