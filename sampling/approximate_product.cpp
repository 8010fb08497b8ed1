#include "sampling/approximate_product.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "core/choice.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Of a subset of matrices' entries, as the published code has them.
constexpr std::int64_t kSubsetRows = 10;

enum class Which : std::uint64_t { forward, input_gradient, weight_gradient };

RandomStream stream(const DrawKey& key, Which which) {
  return {key.seed, RandomPurpose::terms, key.step, 3 * key.part + static_cast<std::uint64_t>(which)};
}

/// One factor of a product, and the dimension along which its terms lie.
struct Factor {
  at::Tensor values;
  std::int64_t dim = 0;
};

/// The terms that a product keeps.
struct Terms {
  at::Tensor kept;   ///< [k] int64; undefined: all
  at::Tensor scale;  ///< [k]; undefined: as they are

  [[nodiscard]] at::Tensor of(const Factor& factor) const {
    if (!kept.defined()) {
      return factor.values;
    }
    return factor.values.index_select(factor.dim, kept).contiguous(factor.values.suggest_memory_format());
  }
  [[nodiscard]] at::Tensor scaled(const Factor& factor) const {
    at::Tensor taken = of(factor);
    if (!scale.defined()) {
      return taken;
    }
    std::vector<std::int64_t> along(taken.dim(), 1);
    along[factor.dim] = scale.numel();
    return (taken * scale.view(along)).to(taken.scalar_type());  // rounded once
  }
};

at::Tensor few_rows(const at::Tensor& matrix, std::int64_t other_dim, RandomStream& random) {
  const std::int64_t length = matrix.size(other_dim);
  const std::int64_t taken = std::min(kSubsetRows, length);
  return matrix.narrow(other_dim, static_cast<std::int64_t>(random.below(length - taken + 1)), taken);
}

at::Tensor one_place(const at::Tensor& maps, RandomStream& random) {
  const auto row = static_cast<std::int64_t>(random.below(maps.size(2)));
  const auto column = static_cast<std::int64_t>(random.below(maps.size(3)));
  return maps.narrow(2, row, 1).narrow(3, column, 1);
}

/// [terms] of a factor whose terms come `groups` times over: those of all groups are one.
at::Tensor norms_of(const Factor& factor, std::int64_t terms, TermNorms kind, RandomStream& random) {
  at::Tensor values = factor.values;
  if (kind == TermNorms::subset) {
    values = values.dim() == 4 ? one_place(values, random) : few_rows(values, 1 - factor.dim, random);
  }
  std::vector<std::int64_t> others;
  for (std::int64_t dim = 0; dim < values.dim(); ++dim) {
    if (dim != factor.dim) {
      others.push_back(dim);
    }
  }
  const at::Tensor norms = at::linalg_vector_norm(values, 2, others);
  // Two bytes are too few for their squares.
  const at::Tensor exact = norms.scalar_type() == at::kDouble ? norms : norms.to(at::kFloat);
  return exact.view({-1, terms}).square().sum(0).sqrt();
}

/// The terms' indices in each of `groups` groups, group by group.
at::Tensor in_each_group(const at::Tensor& kept, std::int64_t terms, std::int64_t groups) {
  const at::Tensor first = at::arange(groups, kept.options()) * terms;
  return (first.unsqueeze(1) + kept.unsqueeze(0)).flatten();
}

struct Draw {
  ChannelSet set;
  std::int64_t terms = 0;
  at::Device device = at::kCPU;

  /// For a factor that has the terms `groups` times.
  [[nodiscard]] Terms terms_of(std::int64_t groups) const {
    if (set.full()) {
      return {};
    }
    const std::vector<std::int64_t> indices(set.kept.begin(), set.kept.end());
    Terms found{.kept = in_each_group(at::tensor(indices), terms, groups).to(device), .scale = {}};
    if (!set.scale.empty()) {
      found.scale = at::tensor(set.scale).repeat({groups}).to(device);
    }
    return found;
  }
};

/// `terms` of them, out of `a` and `b`, the latter the weights where there are any.
Draw draw(const Factor& a, const Factor& b, std::int64_t terms, const std::optional<Approximation>& how,
          RandomStream random) {
  Draw drawn{.set = ChannelSet::all(terms), .terms = terms, .device = a.values.device()};
  if (!how || how->size.kept(terms) == terms) {
    return drawn;
  }
  const at::NoGradGuard no_gradient;
  at::Tensor norms = norms_of(b, terms, how->norms, random);
  if (how->norms != TermNorms::weights) {
    norms = norms * norms_of(a, terms, how->norms, random);
  }
  norms = norms.to(at::kCPU, at::kFloat).contiguous();
  const std::span<const float> span(norms.const_data_ptr<float>(), terms);
  drawn.set = how->sampler->draw({.norms = span, .waiting = {}}, how->size, random);
  return drawn;
}

/// The three products of a layer. A linear map has no shape, and a matrix for x.
using Shape = std::optional<ConvolutionShape>;

std::int64_t groups_of(const Shape& shape) { return shape ? shape->groups : 1; }

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const Shape& shape) {
  return shape ? at::conv2d(x, weight, {}, shape->stride, shape->padding, shape->dilation, shape->groups)
               : at::linear(x, weight);
}

std::pair<at::Tensor, at::Tensor> convolution_gradients(const at::Tensor& dy, const at::Tensor& x,
                                                        const at::Tensor& weight,
                                                        const ConvolutionShape& shape,
                                                        std::array<bool, 3> wanted) {
  auto [dx, dw, db] =
      at::convolution_backward(dy, x, weight, std::nullopt, shape.stride, shape.padding, shape.dilation,
                               /*transposed=*/false, /*output_padding=*/{0, 0}, shape.groups, wanted);
  return {dx, dw};
}

at::Tensor gradient_of_input(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                             const Shape& shape) {
  return shape ? convolution_gradients(dy, x, weight, *shape, {true, false, false}).first
               : at::mm(dy, weight);
}

at::Tensor gradient_of_weight(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                              const Shape& shape) {
  return shape ? convolution_gradients(dy, x, weight, *shape, {false, true, false}).second
               : at::mm(dy.t(), x);
}

/// All that one call needs from forward to backward.
struct Call : torch::CustomClassHolder {
  Call(ProductApproximation how, Shape of, DrawKey draws)
      : approximation(std::move(how)), shape(std::move(of)), key(draws) {}

  [[nodiscard]] std::pair<at::Tensor, at::Tensor> sampled(const at::Tensor& x,
                                                          const at::Tensor& weight) const {
    const Factor input{.values = x, .dim = 1};
    const Factor weights{.values = weight, .dim = 1};
    const Draw drawn =
        draw(input, weights, weight.size(1), approximation.forward, stream(key, Which::forward));
    return {drawn.terms_of(groups_of(shape)).scaled(input), drawn.terms_of(1).of(weights)};
  }

  [[nodiscard]] at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& x,
                                          const at::Tensor& weight) const {
    const Factor outputs{.values = dy, .dim = 1};
    const Factor rows{.values = weight, .dim = 0};
    const std::int64_t groups = groups_of(shape);
    const Terms terms = draw(outputs, rows, weight.size(0) / groups, approximation.input_gradient,
                             stream(key, Which::input_gradient))
                            .terms_of(groups);
    return gradient_of_input(terms.scaled(outputs), x, terms.of(rows), shape);
  }

  [[nodiscard]] at::Tensor weight_gradient(const at::Tensor& dy, const at::Tensor& x,
                                           const at::Tensor& weight) const {
    const Factor outputs{.values = dy, .dim = 0};
    const Factor inputs{.values = x, .dim = 0};
    const Terms terms =
        draw(inputs, outputs, x.size(0), approximation.weight_gradient, stream(key, Which::weight_gradient))
            .terms_of(1);
    return gradient_of_weight(terms.of(outputs), terms.scaled(inputs), weight, shape);
  }

  ProductApproximation approximation;
  Shape shape;
  DrawKey key;
};

/// The product as `forward` says, with gradients of their own. Once only: backward has no graph.
struct WithOwnGradients : torch::autograd::Function<WithOwnGradients> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const c10::intrusive_ptr<Call>& call) {
    context->save_for_backward({x, weight});
    context->saved_data["call"] = at::IValue::make_capsule(call);
    const auto [taken, rows] = call->sampled(x, weight);
    return product(taken, rows, call->shape);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto call = c10::static_intrusive_pointer_cast<Call>(context->saved_data["call"].toCapsule());
    const at::NoGradGuard no_graph;
    variable_list result(3);
    if (context->needs_input_grad(0)) {
      result[0] = call->input_gradient(gradients[0], saved[0], saved[1]);
    }
    if (context->needs_input_grad(1)) {
      result[1] = call->weight_gradient(gradients[0], saved[0], saved[1]);
    }
    return result;
  }
};

at::Tensor with_own_gradients(const at::Tensor& x, const at::Tensor& weight, const Shape& shape,
                              const ProductApproximation& how, const DrawKey& key) {
  return WithOwnGradients::apply(x, weight, c10::make_intrusive<Call>(how, shape, key));
}

at::Tensor approximate(const at::Tensor& x, const at::Tensor& weight, const Shape& shape,
                       const ProductApproximation& how, const DrawKey& key) {
  how.validate();
  if (how.forward && how.gradient_of_all) {
    return with_own_gradients(x, weight, shape, how, key);
  }
  const auto [taken, rows] = Call(how, shape, key).sampled(x, weight);
  if (!how.input_gradient && !how.weight_gradient) {
    return product(taken, rows, shape);
  }
  ProductApproximation backward = how;
  backward.forward.reset();  // of what is kept, all is kept
  return with_own_gradients(taken, rows, shape, backward, key);
}

void require_sampler(const std::optional<Approximation>& how, const char* of, bool has_weights) {
  if (!how) {
    return;
  }
  require(how->sampler != nullptr, "an approximation has no sampler");
  how->size.validate();
  if (how->sampler->counts_draws() || how->sampler->explores()) {
    throw Error(
        ErrorKind::usage,
        concat("the approximation of ", of,
               " has a sampler that depends on where in a run it draws (aged, cyclic, anneal): expected "
               "another"));
  }
  if (how->norms == TermNorms::weights && !has_weights) {
    throw Error(ErrorKind::usage, concat("the approximation of ", of,
                                         " takes the norms of weights alone, and neither factor is one"));
  }
}

}  // namespace

TermNorms parse_term_norms(const std::string& name) {
  return parse_choice<TermNorms>(
      name, "--term-norms",
      {{"both", TermNorms::both}, {"weights", TermNorms::weights}, {"subset", TermNorms::subset}});
}

double ProductApproximation::share_of_flops(std::int64_t in, std::int64_t out) const {
  const auto share = [](const std::optional<Approximation>& how, std::int64_t terms) {
    return how ? static_cast<double>(how->size.kept(terms)) / static_cast<double>(terms) : 1.0;
  };
  const double of_forward = share(forward, in);
  const double reached = gradient_of_all ? 1.0 : of_forward;
  const double of_weights = weight_gradient ? weight_gradient->size.ratio : 1.0;
  return (of_forward + reached * share(input_gradient, out) + reached * of_weights) / 3;
}

void ProductApproximation::validate() const {
  require_sampler(forward, "the forward product", true);
  require_sampler(input_gradient, "the input's gradient", true);
  require_sampler(weight_gradient, "the weights' gradient", false);
}

at::Tensor approximate_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                              const ProductApproximation& how, const DrawKey& key) {
  const at::Tensor rows = x.reshape({-1, x.size(-1)});
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const at::Tensor y = approximate(rows, weight, std::nullopt, how, key).view(sizes);
  return bias.defined() ? y + bias : y;
}

at::Tensor approximate_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                              const ConvolutionShape& shape, const ProductApproximation& how,
                              const DrawKey& key) {
  const at::Tensor y = approximate(x, weight, shape, how, key);
  return bias.defined() ? y + bias.view({1, -1, 1, 1}) : y;
}

}  // namespace slicereduce
