#include "models/network.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>

#include "core/choice.hpp"
#include "core/error.hpp"
#include "core/finite.hpp"
#include "core/overloaded.hpp"
#include "core/profile_range.hpp"
#include "core/random.hpp"
#include "core/text.hpp"
#include "sampling/memory_order.hpp"
#include "sampling/take_channels.hpp"
#include "sampling/tensor_digest.hpp"

namespace slicereduce {

namespace {

constexpr double kNormEpsilon = 1e-5;

/// One forward pass through the steps of a layout.
class Pass {
 public:
  Pass(const CompactNetwork& compact, NormStatistics& statistics, const ForwardMode& mode)
      : compact_(compact), statistics_(statistics), mode_(mode) {}

  at::Tensor run(const Steps& steps, at::Tensor x) {
    at::Tensor taken;  // of x for the step that is next, if that was done in passing
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (ends_block(steps, i)) {
        std::tie(x, taken) =
            end_block(std::get<ResidualStep>(steps[i].kind), x, taken, site_after(steps, i + 1));
        ++i;  // its ReLU
        continue;
      }
      x = std::visit(
          Overloaded{
              [&](const Layer& layer) { return apply(layer, x); },
              [&](const NormStep& norm) { return normalized(norm, x); },
              [&](const TakeStep& take) { return take_channels(x, set(take.site)); },
              [&](const ScaleStep& scale) { return scaled(x, scale.site); },
              [&](const Relu&) {
                const ProfileRange range("ReLU");
                return x.relu_();
              },
              [&](const MaxPool& pool) { return at::max_pool2d(x, pool.kernel, pool.stride, pool.padding); },
              [&](const MeanPool&) { return x.mean({2, 3}); },
              [&](const Flatten&) { return x.flatten(1); },
              [&](const DropoutStep& dropout) { return dropped(dropout, x); },
              [&](const ResidualStep& residual) {
                const auto [branch, skip] = halves(residual, x, taken);
                return branch.add_(skip);
              },
          },
          steps[i].kind);
      taken = at::Tensor();
    }
    return x;
  }

 private:
  static bool ends_block(const Steps& steps, std::size_t i) {
    return i + 1 < steps.size() && std::holds_alternative<ResidualStep>(steps[i].kind) &&
           std::holds_alternative<Relu>(steps[i + 1].kind);
  }

  /// Of the residual step that comes after `i`, if one does, and takes channels of its input.
  static std::optional<std::size_t> site_after(const Steps& steps, std::size_t i) {
    const auto* next = i + 1 < steps.size() ? std::get_if<ResidualStep>(&steps[i + 1].kind) : nullptr;
    return next != nullptr ? next->site : std::nullopt;
  }

  /// {ReLU of the sum, what the block behind `next_site` takes of it}
  std::pair<at::Tensor, at::Tensor> end_block(const ResidualStep& residual, const at::Tensor& x,
                                              const at::Tensor& taken, std::optional<std::size_t> next_site) {
    const auto [branch, skip] = halves(residual, x, taken);
    const ProfileRange range("sum and ReLU");
    auto [sum, of_next] = sum_relu_and_take(branch, skip, next_site ? set(*next_site) : nullptr);
    return {sum, next_site ? of_next : at::Tensor()};
  }

  const at::Tensor& leaf(std::size_t parameter) const { return compact_.leaves[parameter]; }
  const std::shared_ptr<const PlacedSet>& set(std::size_t site) const { return compact_.plan.set(site); }

  at::Tensor apply(const Layer& layer, const at::Tensor& x) const {
    const ProfileRange range(layer.name);
    const at::Tensor bias = layer.bias ? leaf(*layer.bias).to(x.scalar_type()) : at::Tensor();
    if (mode_.products != nullptr && layer.input_site) {
      return approximated(layer, x, bias);
    }
    return layer.is_linear ? at::linear(x, leaf(layer.weight), bias)
                           : at::conv2d(x, leaf(layer.weight), bias, layer.stride, layer.kernel / 2);
  }

  at::Tensor approximated(const Layer& layer, const at::Tensor& x, const at::Tensor& bias) const {
    DrawKey key = mode_.draws.value();
    key.part += layer.weight;
    if (layer.is_linear) {
      return approximate_linear(x, leaf(layer.weight), bias, *mode_.products, key);
    }
    const std::int64_t padding = layer.kernel / 2;
    const ConvolutionShape shape{.stride = {layer.stride, layer.stride}, .padding = {padding, padding}};
    return approximate_conv2d(x, leaf(layer.weight), bias, shape, *mode_.products, key);
  }

  /// What is summed: {branch, skip}. `taken`: of x, if that was done before.
  std::pair<at::Tensor, at::Tensor> halves(const ResidualStep& residual, const at::Tensor& x,
                                           at::Tensor taken) {
    at::Tensor skip = x;
    if (residual.shortcut == Shortcut::projection) {
      if (!taken.defined()) {
        taken = residual.site ? take_channels(x, set(*residual.site)) : x;
      }
      skip = run(residual.projection, taken);
    } else {
      if (!taken.defined()) {
        std::tie(taken, skip) =
            residual.site ? take_and_pass(x, set(*residual.site)) : std::pair<at::Tensor, at::Tensor>(x, x);
      }
      if (residual.shortcut == Shortcut::padding) {
        skip = padded(skip, residual.stride, residual.out);
      }
    }
    return {run(residual.branch, taken), skip};
  }

  static at::Tensor padded(const at::Tensor& skip, std::int64_t stride, std::int64_t out) {
    const std::int64_t side = (out - skip.size(1)) / 2;
    return at::constant_pad_nd(skip.slice(2, 0, {}, stride).slice(3, 0, {}, stride),
                               {0, 0, 0, 0, side, side});
  }

  at::Tensor scaled(const at::Tensor& x, std::size_t site) const {
    const at::Tensor& scale = set(site)->scale;
    if (!scale.defined()) {
      return x;
    }
    std::vector<std::int64_t> along(x.dim(), 1);
    along[1] = -1;
    // Rounded once: scales in bf16 would be off in the same direction for all of a channel.
    return (x * scale.view(along)).to(x.scalar_type());
  }

  /// The same mask for any number of threads and on every device.
  at::Tensor dropped(const DropoutStep& dropout, const at::Tensor& x) const {
    if (!mode_.draws) {
      return x;
    }
    const DrawKey& key = *mode_.draws;
    RandomStream random(key.seed, RandomPurpose::dropout, key.step, key.part + dropout.number);
    at::Generator generator = at::detail::createCPUGenerator(random.below(1ULL << 63));
    const std::vector<std::int64_t> sizes =
        dropout.whole_maps ? std::vector<std::int64_t>{x.size(0), x.size(1), 1, 1} : x.sizes().vec();
    const at::Tensor mask = at::empty(sizes, at::kFloat).bernoulli_(1 - dropout.p, generator);
    return x * mask.div_(1 - dropout.p).to(x.options());
  }

  at::Tensor normalized(const NormStep& norm, const at::Tensor& x) {
    const ProfileRange range("batch norm");
    at::Tensor& mean = statistics_.mean[norm.statistics];
    at::Tensor& variance = statistics_.variance[norm.statistics];
    const auto* placed = norm.site ? set(*norm.site).get() : nullptr;
    if (placed == nullptr || placed->set.size() == placed->set.channels) {
      return batch_norm(norm, x, mean, variance);
    }
    const at::Tensor& kept = placed->kept;
    const at::Tensor kept_mean = mean.index_select(0, kept);
    const at::Tensor kept_variance = variance.index_select(0, kept);
    at::Tensor out = batch_norm(norm, x, kept_mean, kept_variance);
    if (mode_.batch_statistics) {
      const c10::NoGradGuard no_grad;
      mean.index_copy_(0, kept, kept_mean);
      variance.index_copy_(0, kept, kept_variance);
    }
    return out;
  }

  at::Tensor batch_norm(const NormStep& norm, const at::Tensor& x, const at::Tensor& mean,
                        const at::Tensor& variance) const {
    if (mode_.batch_statistics && x.numel() == x.size(1)) {
      throw Error(ErrorKind::usage,
                  concat("batch norm sees one value of each channel, which has no variance: ", x.sizes(),
                         ": expected more images (--batch-size) or larger ones (--image-size)"));
    }
    return at::batch_norm(x, leaf(norm.weight), leaf(norm.bias), mean, variance, mode_.batch_statistics,
                          mode_.momentum, kNormEpsilon, /*cudnn_enabled=*/true);
  }

  const CompactNetwork& compact_;
  NormStatistics& statistics_;
  const ForwardMode& mode_;
};

void draw_first_values(const FirstValues& first, const at::Tensor& value, at::Generator& generator) {
  switch (first.kind) {
    case FirstValues::Kind::constant:
      value.fill_(first.value);
      return;
    case FirstValues::Kind::normal:
      value.normal_(0.0, first.value, generator);
      return;
    case FirstValues::Kind::uniform:
      value.uniform_(-first.value, first.value, generator);
      return;
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

void NormStatistics::copy_from(const NormStatistics& other) {
  for (std::size_t i = 0; i < mean.size(); ++i) {
    mean[i].copy_(other.mean.at(i));
    variance[i].copy_(other.variance.at(i));
  }
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
  for (std::size_t p = 0; p < layout_.parameters.size(); ++p) {
    const ParameterShape& shape = layout_.parameters[p];
    const at::Tensor value = at::empty(shape.sizes, at::kFloat);
    draw_first_values(layout_.first_values[p], value, generator);
    parameters_.push_back(
        {.shape = shape, .value = value.to(device_).contiguous(memory_format_of(shape.sizes))});
  }
}

void Network::gather(const Plan& plan, Precision precision, CompactNetwork& compact) const {
  gather(PlacedPlan(plan, device_), precision, compact);
}

void Network::gather(const PlacedPlan& placed, Precision precision, CompactNetwork& compact) const {
  const c10::NoGradGuard no_grad;
  const Plan& plan = placed.plan();
  compact.plan = placed;
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
  }
  gather_slices(parameters_, compact.plan, compact.leaves);
}

at::Tensor Network::forward(const CompactNetwork& compact, const at::Tensor& images,
                            NormStatistics& statistics, const ForwardMode& mode) const {
  const at::ScalarType type = compact.leaves.front().scalar_type();
  return Pass(compact, statistics, mode).run(layout_.steps, images.to(type)).to(at::kFloat);
}

std::vector<at::Tensor> Network::values() const {
  std::vector<at::Tensor> values;
  values.reserve(parameters_.size());
  for (const auto& parameter : parameters_) {
    values.push_back(parameter.value);
  }
  return values;
}

std::uint64_t Network::weights_digest() const { return digest_of_tensors(values()); }

bool Network::is_finite() const {
  const auto all_numbers = [](const at::Tensor& tensor) { return slicereduce::is_finite(tensor); };
  return std::ranges::all_of(parameters_, all_numbers, &SlicedParameter::value) &&
         std::ranges::all_of(statistics_.mean, all_numbers) &&
         std::ranges::all_of(statistics_.variance, all_numbers);
}

}  // namespace slicereduce
