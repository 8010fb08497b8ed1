#include "models/network.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "core/choice.hpp"
#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "core/text.hpp"
#include "sampling/memory_order.hpp"
#include "sampling/take_channels.hpp"

namespace slicereduce {

namespace {

constexpr double kNormEpsilon = 1e-5;

/// One forward pass through the blocks of a layout.
class Pass {
 public:
  Pass(const Layout& layout, const CompactNetwork& compact, NormStatistics& statistics, NormMode mode)
      : layout_(layout), compact_(compact), statistics_(statistics), mode_(mode) {}

  at::Tensor run(at::Tensor x) {
    x = x.to(leaf(layout_.stem.weight).scalar_type());
    x = conv_norm(layout_.stem, x).relu_();
    if (layout_.architecture.stem_pools) {
      x = at::max_pool2d(x, 3, 2, 1);
    }
    for (const auto& block : layout_.blocks) {
      x = residual(block, x);
    }
    x = x.mean({2, 3});
    if (layout_.classifier_site) {
      x = take_channels(x, compact_.plan.set(*layout_.classifier_site));
    }
    return at::linear(x, leaf(layout_.classifier_weight), leaf(layout_.classifier_bias).to(x.scalar_type()))
        .to(at::kFloat);
  }

 private:
  const at::Tensor& leaf(std::size_t parameter) const { return compact_.leaves[parameter]; }

  at::Tensor residual(const Block& block, const at::Tensor& x) {
    const auto& set = compact_.plan.set(block.input_site);
    at::Tensor taken;
    at::Tensor skip;
    if (block.projection) {
      taken = take_channels(x, set);
      skip = conv_norm(*block.projection, taken);
    } else {
      std::tie(taken, skip) = take_and_pass(x, set);
      if (block.shortcut == Shortcut::padding) {
        skip = padded(skip, block.chain.front().shape.stride, block.chain.back().shape.out);
      }
    }
    return chain(block, taken).add_(skip).relu_();
  }

  at::Tensor chain(const Block& block, const at::Tensor& taken) {
    at::Tensor h = conv_norm(block.chain.front(), taken);
    for (std::size_t i = 1; i < block.chain.size(); ++i) {
      h = conv_norm(block.chain[i], inner_input(block.chain[i - 1], block.chain[i], h.relu_()));
    }
    return h;
  }

  /// What a convolution inside a block reads: coupled, its predecessor computed just that.
  at::Tensor inner_input(const Layer& before, const Layer& layer, const at::Tensor& h) const {
    const auto& set = compact_.plan.set(*layer.input_site);
    if (!before.output_site) {
      return take_channels(h, set);
    }
    if (!set->scale.defined()) {
      return h;
    }
    return h * set->scale.view({1, -1, 1, 1}).to(h.scalar_type());
  }

  at::Tensor padded(const at::Tensor& skip, std::int64_t stride, std::int64_t out) const {
    const std::int64_t side = (out - skip.size(1)) / 2;
    return at::constant_pad_nd(skip.slice(2, 0, {}, stride).slice(3, 0, {}, stride),
                               {0, 0, 0, 0, side, side});
  }

  at::Tensor conv_norm(const Layer& layer, const at::Tensor& x) {
    const std::int64_t padding = layer.shape.kernel / 2;
    const at::Tensor y = at::conv2d(x, leaf(layer.weight), {}, layer.shape.stride, padding);
    return norm(layer, y);
  }

  at::Tensor norm(const Layer& layer, const at::Tensor& y) {
    at::Tensor& mean = statistics_.mean[layer.statistics];
    at::Tensor& variance = statistics_.variance[layer.statistics];
    const auto* placed = layer.output_site ? compact_.plan.set(*layer.output_site).get() : nullptr;
    if (placed == nullptr || placed->set.size() == placed->set.channels) {
      return batch_norm(layer, y, mean, variance);
    }
    const at::Tensor& kept = placed->kept;
    const at::Tensor kept_mean = mean.index_select(0, kept);
    const at::Tensor kept_variance = variance.index_select(0, kept);
    at::Tensor out = batch_norm(layer, y, kept_mean, kept_variance);
    if (mode_.batch_statistics) {
      const c10::NoGradGuard no_grad;
      mean.index_copy_(0, kept, kept_mean);
      variance.index_copy_(0, kept, kept_variance);
    }
    return out;
  }

  at::Tensor batch_norm(const Layer& layer, const at::Tensor& y, const at::Tensor& mean,
                        const at::Tensor& variance) const {
    return at::batch_norm(y, leaf(layer.norm_weight), leaf(layer.norm_bias), mean, variance,
                          mode_.batch_statistics, mode_.momentum, kNormEpsilon, /*cudnn_enabled=*/true);
  }

  const Layout& layout_;
  const CompactNetwork& compact_;
  NormStatistics& statistics_;
  NormMode mode_;
};

/// torchvision's initialisation: kaiming_normal_ (fan_out, relu) for convolutions, Linear's default.
void draw_initial(SlicedParameter& parameter, double classifier_bound, at::Generator& generator) {
  const auto& shape = parameter.shape;
  if (shape.sizes.size() == 4) {
    const auto fan_out = static_cast<double>(shape.rows() * shape.taps());
    parameter.value.normal_(0.0, std::sqrt(2.0 / fan_out), generator);
  } else if (shape.name.starts_with("fc.")) {
    parameter.value.uniform_(-classifier_bound, classifier_bound, generator);
  } else {
    parameter.value.fill_(shape.name.ends_with(".bias") ? 0.0 : 1.0);
  }
}

/// Whether last step's leaf can hold this step's slices. A leaf that shares a dense weight's memory
/// must not: the slices would be written into the weight.
bool reusable(const at::Tensor& leaf, const std::vector<std::int64_t>& sizes, at::ScalarType dtype,
              const at::Tensor& dense) {
  return leaf.defined() && leaf.sizes() == at::IntArrayRef(sizes) && leaf.scalar_type() == dtype &&
         !leaf.is_alias_of(dense);
}

}  // namespace

NormStatistics NormStatistics::initial(const Layout& layout, at::Device device) {
  const auto options = at::TensorOptions(device).dtype(at::kFloat);
  NormStatistics statistics;
  for (const auto& norm : layout.statistics) {
    statistics.mean.push_back(at::zeros({norm.channels}, options));
    statistics.variance.push_back(at::ones({norm.channels}, options));
  }
  return statistics;
}

NormStatistics NormStatistics::clone() const {
  NormStatistics copy;
  for (std::size_t i = 0; i < mean.size(); ++i) {
    copy.mean.push_back(mean[i].clone());
    copy.variance.push_back(variance[i].clone());
  }
  return copy;
}

Precision parse_precision(const std::string& name) {
  return parse_choice<Precision>(name, "--precision", {{"fp32", Precision::fp32}, {"bf16", Precision::bf16}});
}

std::string to_string(Precision precision) { return precision == Precision::fp32 ? "fp32" : "bf16"; }

Network::Network(Layout layout, std::uint64_t seed, at::Device device)
    : layout_(std::move(layout)), device_(device), statistics_(NormStatistics::initial(layout_, device)) {
  at::Generator generator =
      at::detail::createCPUGenerator(RandomStream(seed, RandomPurpose::weights, 0, 0).below(1ULL << 63));
  const double classifier_bound = 1.0 / std::sqrt(static_cast<double>(layout_.architecture.features));
  for (const auto& shape : layout_.parameters) {
    parameters_.push_back({.shape = shape, .value = at::empty(shape.sizes, at::kFloat)});
    draw_initial(parameters_.back(), classifier_bound, generator);
    at::Tensor& value = parameters_.back().value;
    value = value.to(device_).contiguous(memory_format_of(shape.sizes));
  }
}

void Network::gather(const Plan& plan, Precision precision, CompactNetwork& compact) const {
  const c10::NoGradGuard no_grad;
  compact.plan = PlacedPlan(plan, device_);
  compact.leaves.resize(parameters_.size());
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    const auto& parameter = parameters_[p];
    at::Tensor& leaf = compact.leaves[p];
    const bool lowered = precision == Precision::bf16 && !parameter.shape.vector;
    const at::ScalarType dtype = lowered ? at::kBFloat16 : at::kFloat;
    if (dtype == at::kFloat && parameter.shape.whole(plan)) {
      if (!leaf.defined() || !leaf.is_alias_of(parameter.value)) {
        leaf = parameter.value.detach().set_requires_grad(true);
      }
      continue;
    }
    const auto sizes = parameter.shape.compact_sizes(plan);
    if (!reusable(leaf, sizes, dtype, parameter.value)) {
      const auto options = parameter.value.options().dtype(dtype).memory_format(memory_format_of(sizes));
      leaf = at::empty(sizes, options).set_requires_grad(true);
    }
    gather_slices(parameter, compact.plan, leaf);
  }
}

at::Tensor Network::forward(const CompactNetwork& compact, const at::Tensor& images,
                            NormStatistics& statistics, NormMode mode) const {
  return Pass(layout_, compact, statistics, mode).run(images);
}

std::vector<at::Tensor> Network::values() const {
  std::vector<at::Tensor> values;
  values.reserve(parameters_.size());
  for (const auto& parameter : parameters_) {
    values.push_back(parameter.value);
  }
  return values;
}

std::uint64_t Network::weights_digest() const {
  Digest digest;
  for (const auto& parameter : parameters_) {
    const at::Tensor value = in_memory_order(parameter.value.cpu());
    digest.add_values(std::span(value.const_data_ptr<float>(), static_cast<std::size_t>(value.numel())));
  }
  return digest.value();
}

}  // namespace slicereduce
