#include "sampling/approximate_product.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace slicereduce {
namespace {

constexpr SampleSize kHalf{.ratio = 0.5, .minimal_k = 1, .channel_multiple = 1};
constexpr SampleSize kAll{.ratio = 1, .minimal_k = 1, .channel_multiple = 1};

at::Tensor random_doubles(at::IntArrayRef sizes, std::uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  // Norms that differ by more than chance makes them: choices then mean something.
  const at::Tensor values = at::randn(sizes, generator, at::kDouble);
  return values * at::rand(sizes[1], generator, at::kDouble)
                      .add(0.1)
                      .view(sizes.size() == 4 ? at::IntArrayRef({1, -1, 1, 1}) : at::IntArrayRef({1, -1}));
}

Approximation by(const std::string& sampler, SampleSize size = kHalf, Scaling scaling = Scaling::usual,
                 TermNorms norms = TermNorms::both) {
  return {.sampler = make_sampler(sampler, scaling), .size = size, .norms = norms};
}

/// A layer, and a number that depends on all of its outputs.
struct Layer {
  at::Tensor x;
  at::Tensor weight;
  at::Tensor probe;  ///< of the outputs' sizes: the loss is the sum of probe * y
  std::optional<ConvolutionShape> shape;

  [[nodiscard]] at::Tensor exact(const at::Tensor& of_x, const at::Tensor& of_weight) const {
    return shape ? at::conv2d(of_x, of_weight, {}, shape->stride, shape->padding, shape->dilation,
                              shape->groups)
                 : at::linear(of_x, of_weight);
  }
};

Layer linear_layer() {
  return {.x = random_doubles({14, 12}, 1),
          .weight = random_doubles({16, 12}, 2),
          .probe = random_doubles({14, 16}, 3),
          .shape = {}};
}

/// So many terms, also in each group, that a Bernoulli sampler hardly ever draws none.
Layer convolution(std::int64_t groups = 1) {
  return {
      .x = random_doubles({12, 24, 5, 6}, 4),
      .weight = random_doubles({24, 24 / groups, 3, 3}, 5),
      .probe = random_doubles({12, 24, 3, 4}, 6),
      .shape = ConvolutionShape{.stride = {2, 1}, .padding = {1, 1}, .dilation = {1, 2}, .groups = groups}};
}

std::vector<Layer> layers() { return {linear_layer(), convolution(), convolution(2)}; }

struct Pass {
  at::Tensor y;
  at::Tensor dx;
  at::Tensor dw;
};

Pass run(const Layer& layer, const std::function<at::Tensor(const at::Tensor&, const at::Tensor&)>& product) {
  const at::Tensor x = layer.x.clone().requires_grad_();
  const at::Tensor weight = layer.weight.clone().requires_grad_();
  const at::Tensor y = product(x, weight);
  const auto gradients = torch::autograd::grad({(y * layer.probe).sum()}, {x, weight});
  return {.y = y.detach(), .dx = gradients[0], .dw = gradients[1]};
}

Pass exact(const Layer& layer) {
  return run(layer, [&](const auto& x, const auto& weight) { return layer.exact(x, weight); });
}

Pass approximate(const Layer& layer, const ProductApproximation& how, std::uint64_t step = 0) {
  const DrawKey key{.seed = 7, .step = step, .part = 3};
  return run(layer, [&](const auto& x, const auto& weight) {
    return layer.shape ? approximate_conv2d(x, weight, {}, *layer.shape, how, key)
                       : approximate_linear(x, weight, {}, how, key);
  });
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, const std::string& what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  EXPECT_LE((actual - expected).abs().max().item<double>(), 1e-11 * (1 + expected.abs().max().item<double>()))
      << what;
}

void expect_same(const Pass& actual, const Pass& expected, const std::string& what) {
  expect_close(actual.y, expected.y, what + ": y");
  expect_close(actual.dx, expected.dx, what + ": dx");
  expect_close(actual.dw, expected.dw, what + ": dw");
}

/// The norm of slice `term` of `values` along `dim`, and of those `terms` further on: one number after
/// another.
double norm_of(const at::Tensor& values, std::int64_t dim, std::int64_t term, std::int64_t terms) {
  double squares = 0;
  for (std::int64_t i = term; i < values.size(dim); i += terms) {
    const at::Tensor slice = values.select(dim, i).contiguous().flatten();
    for (std::int64_t j = 0; j < slice.numel(); ++j) {
      squares += slice.const_data_ptr<double>()[j] * slice.const_data_ptr<double>()[j];
    }
  }
  return std::sqrt(squares);
}

/// The k terms of largest |a| |b|, by sorting all.
std::vector<std::int64_t> best_terms(const at::Tensor& a, std::int64_t a_dim, const at::Tensor& b,
                                     std::int64_t b_dim, std::int64_t terms, std::int64_t k) {
  std::vector<double> score(terms);
  for (std::int64_t i = 0; i < terms; ++i) {
    score[i] = norm_of(a, a_dim, i, terms) * norm_of(b, b_dim, i, terms);
  }
  std::vector<std::int64_t> order(terms);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto i, auto j) { return score[i] > score[j]; });
  order.resize(k);
  return order;
}

/// `values` with all but some terms along `dim` set to 0.
at::Tensor only(const at::Tensor& values, std::int64_t dim, std::int64_t terms,
                const std::vector<std::int64_t>& kept) {
  at::Tensor mask = at::zeros({values.size(dim)}, values.options());
  for (const auto term : kept) {
    for (std::int64_t i = term; i < values.size(dim); i += terms) {
      mask[i] = 1;
    }
  }
  std::vector<std::int64_t> sizes(values.dim(), 1);
  sizes[dim] = values.size(dim);
  return values * mask.view(sizes);
}

std::int64_t groups(const Layer& layer) { return layer.shape ? layer.shape->groups : 1; }

std::vector<std::int64_t> best_inputs(const Layer& layer) {
  const std::int64_t terms = layer.weight.size(1);
  return best_terms(layer.x, 1, layer.weight, 1, terms, terms / 2);
}

/// Forward sampling as a product with zeros.
Pass forward_sampled(const Layer& layer, const std::vector<std::int64_t>& kept) {
  const std::int64_t terms = layer.weight.size(1);
  return run(layer, [&](const auto& x, const auto& weight) {
    return layer.exact(only(x, 1, terms, kept), only(weight, 1, terms, kept));
  });
}

TEST(ApproximateProduct, OfAllTermsIsExact) {
  for (const auto& layer : layers()) {
    const Pass expected = exact(layer);
    for (const auto& name : sampler_names()) {
      if (const auto sampler = make_sampler(name); sampler->counts_draws() || sampler->explores()) {
        continue;
      }
      const Approximation all = by(name, kAll);
      expect_same(approximate(layer, {.forward = all, .input_gradient = {}, .weight_gradient = {}}), expected,
                  name);
      expect_same(
          approximate(layer,
                      {.forward = all, .gradient_of_all = true, .input_gradient = {}, .weight_gradient = {}}),
          expected, name);
      expect_same(approximate(layer, {.forward = {}, .input_gradient = all, .weight_gradient = all}),
                  expected, name);
    }
    expect_same(approximate(layer, {}), expected, "nothing approximated");
  }
}

TEST(ForwardSampling, IsTheProductOfTheBestTermsAndItsDerivative) {
  for (const auto& layer : layers()) {
    const auto kept = best_inputs(layer);
    const Pass expected = forward_sampled(layer, kept);
    const Pass actual =
        approximate(layer, {.forward = by("topk"), .input_gradient = {}, .weight_gradient = {}});
    expect_same(actual, expected, "forward sampling");
    // Not nearly, but exactly nothing.
    EXPECT_TRUE(at::equal(actual.dx, only(actual.dx, 1, layer.weight.size(1), kept)));
    EXPECT_TRUE(at::equal(actual.dw, only(actual.dw, 1, layer.weight.size(1), kept)));
  }
}

TEST(BlackBox, IsSampledForwardAndExactBackward) {
  for (const auto& layer : layers()) {
    const Pass whole = exact(layer);
    const Pass expected{.y = forward_sampled(layer, best_inputs(layer)).y, .dx = whole.dx, .dw = whole.dw};
    expect_same(
        approximate(
            layer,
            {.forward = by("topk"), .gradient_of_all = true, .input_gradient = {}, .weight_gradient = {}}),
        expected, "black box");
  }
}

/// The gradient to the input from the best half of the output channels.
at::Tensor input_gradient_of_best(const Layer& layer) {
  const std::int64_t terms = layer.weight.size(0) / groups(layer);
  const auto kept = best_terms(layer.probe, 1, layer.weight, 0, terms, terms / 2);
  const Layer masked{
      .x = layer.x, .weight = layer.weight, .probe = only(layer.probe, 1, terms, kept), .shape = layer.shape};
  return exact(masked).dx;
}

/// The gradient to the weights from the best half of the examples.
at::Tensor weight_gradient_of_best(const Layer& layer) {
  const std::int64_t terms = layer.x.size(0);
  const auto kept = best_terms(layer.x, 0, layer.probe, 0, terms, terms / 2);
  const Layer masked{
      .x = layer.x, .weight = layer.weight, .probe = only(layer.probe, 0, terms, kept), .shape = layer.shape};
  return exact(masked).dw;
}

TEST(BackwardSampling, ApproximatesEachGradientByItself) {
  for (const auto& layer : layers()) {
    const Pass whole = exact(layer);
    const at::Tensor dx = input_gradient_of_best(layer);
    const at::Tensor dw = weight_gradient_of_best(layer);
    expect_same(approximate(layer, {.forward = {}, .input_gradient = by("topk"), .weight_gradient = {}}),
                {.y = whole.y, .dx = dx, .dw = whole.dw}, "input alone");
    expect_same(approximate(layer, {.forward = {}, .input_gradient = {}, .weight_gradient = by("topk")}),
                {.y = whole.y, .dx = whole.dx, .dw = dw}, "weights alone");
    expect_same(
        approximate(layer, {.forward = {}, .input_gradient = by("topk"), .weight_gradient = by("topk")}),
        {.y = whole.y, .dx = dx, .dw = dw}, "both");
    EXPECT_GT((dx - whole.dx).abs().max().item<double>(), 1e-3);
    EXPECT_GT((dw - whole.dw).abs().max().item<double>(), 1e-3);
  }
}

TEST(BackwardSampling, OfASampledForwardStaysInsideIt) {
  for (const auto& layer : layers()) {
    const auto kept = best_inputs(layer);
    const std::int64_t terms = layer.weight.size(1);
    const Layer inside{.x = only(layer.x, 1, terms, kept),
                       .weight = only(layer.weight, 1, terms, kept),
                       .probe = layer.probe,
                       .shape = layer.shape};
    const Pass actual = approximate(
        layer, {.forward = by("topk"), .input_gradient = by("topk"), .weight_gradient = by("topk")});
    expect_same(actual,
                {.y = exact(inside).y,
                 .dx = only(input_gradient_of_best(inside), 1, terms, kept),
                 .dw = only(weight_gradient_of_best(inside), 1, terms, kept)},
                "all three");
  }
}

TEST(TermNorms, OfTheWeightsAloneIgnoreTheInput) {
  for (const auto& layer : layers()) {
    const std::int64_t terms = layer.weight.size(1);
    const at::Tensor ones = at::ones_like(layer.x);
    const auto kept = best_terms(ones, 1, layer.weight, 1, terms, terms / 2);
    const Approximation weights = by("topk", kHalf, Scaling::usual, TermNorms::weights);
    expect_same(approximate(layer, {.forward = weights, .input_gradient = {}, .weight_gradient = {}}),
                forward_sampled(layer, kept), "weights");
  }
}

TEST(TermNorms, OfASubsetThatIsAllAreThoseOfAll) {
  const Layer matrices{.x = random_doubles({8, 12}, 1),
                       .weight = random_doubles({9, 12}, 2),
                       .probe = random_doubles({8, 9}, 3),
                       .shape = {}};
  const Layer pixels{.x = random_doubles({5, 12, 1, 1}, 1),
                     .weight = random_doubles({9, 12, 1, 1}, 2),
                     .probe = random_doubles({5, 9, 1, 1}, 3),
                     .shape = ConvolutionShape{}};
  for (const auto& layer : {matrices, pixels}) {
    const Approximation subset = by("topk", kHalf, Scaling::usual, TermNorms::subset);
    expect_same(approximate(layer, {.forward = subset, .input_gradient = {}, .weight_gradient = {}}),
                forward_sampled(layer, best_inputs(layer)), "subset");
  }
}

TEST(TermNorms, OfASubsetChooseOtherTermsEachTime) {
  for (const auto& layer : {linear_layer(), convolution()}) {
    const Approximation subset = by("topk", kHalf, Scaling::usual, TermNorms::subset);
    const ProductApproximation how{.forward = subset, .input_gradient = {}, .weight_gradient = {}};
    const at::Tensor first = approximate(layer, how, 0).y;
    bool differs = false;
    for (std::uint64_t step = 1; step < 20; ++step) {
      differs = differs || !at::equal(first, approximate(layer, how, step).y);
    }
    EXPECT_TRUE(differs);
    EXPECT_TRUE(at::equal(first, approximate(layer, how, 0).y));
  }
}

/// What a term adds to a product, by term.
struct Contributions {
  std::vector<at::Tensor> terms;
  std::vector<double> norms;  ///< |a_i| |b_i|

  [[nodiscard]] at::Tensor sum() const { return at::stack(terms).sum(0); }
  [[nodiscard]] double square(std::size_t i) const { return terms[i].square().sum().item<double>(); }
};

Contributions of_input_channels(const Layer& layer) {
  const std::int64_t count = layer.weight.size(1);
  Contributions found;
  for (std::int64_t i = 0; i < count; ++i) {
    found.terms.push_back(layer.exact(only(layer.x, 1, count, {i}), layer.weight));
    found.norms.push_back(norm_of(layer.x, 1, i, count) * norm_of(layer.weight, 1, i, count));
  }
  return found;
}

struct Moments {
  double mean = 0;
  double error = 0;  ///< standard error of the mean
};

Moments moments(const std::vector<double>& samples) {
  const auto n = static_cast<double>(samples.size());
  const double mean = std::accumulate(samples.begin(), samples.end(), 0.0) / n;
  double squares = 0;
  for (const double sample : samples) {
    squares += (sample - mean) * (sample - mean);
  }
  return {.mean = mean, .error = std::sqrt(squares / (n - 1) / n)};
}

constexpr int kDraws = 1000;

/// Within five standard errors: by chance about once in a million.
void expect_mean(const std::vector<double>& samples, double expected, const std::string& what) {
  const Moments found = moments(samples);
  EXPECT_NEAR(found.mean, expected, 5 * found.error + 1e-9 * std::abs(expected)) << what;
}

at::Tensor sampled_product(const Layer& layer, const Approximation& how, int step) {
  const at::NoGradGuard no_gradient;
  const ProductApproximation forward{.forward = how, .input_gradient = {}, .weight_gradient = {}};
  const DrawKey key{.seed = 7, .step = static_cast<std::uint64_t>(step), .part = 3};
  return layer.shape ? approximate_conv2d(layer.x, layer.weight, {}, *layer.shape, forward, key)
                     : approximate_linear(layer.x, layer.weight, {}, forward, key);
}

class UnbiasedSampler : public ::testing::TestWithParam<std::string> {};

TEST_P(UnbiasedSampler, HasTheExactProductsAsItsMean) {
  const Approximation scaled = by(GetParam(), kHalf, Scaling::unbiased);
  const ProductApproximation backward{.forward = {}, .input_gradient = scaled, .weight_gradient = scaled};
  for (const auto& layer : layers()) {
    const Pass whole = exact(layer);
    const at::Tensor of_x = random_doubles(layer.x.sizes(), 11);
    const at::Tensor of_weight = random_doubles(layer.weight.sizes(), 12);
    std::vector<double> y;
    std::vector<double> dx;
    std::vector<double> dw;
    for (int step = 0; step < kDraws; ++step) {
      y.push_back((sampled_product(layer, scaled, step) * layer.probe).sum().item<double>());
      const Pass sampled = approximate(layer, backward, step);
      dx.push_back((sampled.dx * of_x).sum().item<double>());
      dw.push_back((sampled.dw * of_weight).sum().item<double>());
    }
    expect_mean(y, (whole.y * layer.probe).sum().item<double>(), "y");
    expect_mean(dx, (whole.dx * of_x).sum().item<double>(), "dx");
    expect_mean(dw, (whole.dw * of_weight).sum().item<double>(), "dw");
  }
}

INSTANTIATE_TEST_SUITE_P(Samplers, UnbiasedSampler,
                         ::testing::Values(std::string("proportional"), std::string("bernoulli"),
                                           std::string("uniform"), std::string("uniform_replaced")));

std::vector<double> squared_errors(const Layer& layer, const Approximation& how) {
  const at::Tensor whole = exact(layer).y;
  std::vector<double> errors;
  for (int step = 0; step < kDraws; ++step) {
    errors.push_back((sampled_product(layer, how, step) - whole).square().sum().item<double>());
  }
  return errors;
}

/// Drineas, Kannan, Mahoney 2006, as the paper quotes it: k draws with replacement, of term i with p_i, have
/// E |C - AB|^2 = (sum_i |T_i|^2 / p_i - |AB|^2) / k, where |T_i| = |a_i| |b_i| for matrices.
TEST(Proportional, HasTheVarianceOfTheFormula) {
  for (const auto& layer : layers()) {
    const Contributions terms = of_input_channels(layer);
    const double sum = std::accumulate(terms.norms.begin(), terms.norms.end(), 0.0);
    const auto count = static_cast<double>(terms.terms.size());
    double expected = -terms.sum().square().sum().item<double>();
    for (std::size_t i = 0; i < terms.terms.size(); ++i) {
      expected += terms.square(i) / (0.9 * terms.norms[i] / sum + 0.1 / count);
    }
    expect_mean(squared_errors(layer, by("proportional")),
                expected / static_cast<double>(kHalf.kept(terms.terms.size())), "proportional");
  }
}

/// Each term by itself: E |C - AB|^2 = sum_i (1 / q_i - 1) |T_i|^2.
TEST(Bernoulli, HasTheVarianceOfTheFormula) {
  for (const auto& layer : layers()) {
    const Contributions terms = of_input_channels(layer);
    const double sum = std::accumulate(terms.norms.begin(), terms.norms.end(), 0.0);
    const auto count = static_cast<double>(terms.terms.size());
    const auto k = static_cast<double>(kHalf.kept(terms.terms.size()));
    double expected = 0;
    for (std::size_t i = 0; i < terms.terms.size(); ++i) {
      const double q = 0.9 * std::min(1.0, k * terms.norms[i] / sum) + 0.1 / count;
      expected += (1 / q - 1) * terms.square(i);
    }
    expect_mean(squared_errors(layer, by("bernoulli")), expected, "bernoulli");
  }
}

/// k of n without replacement, all alike, times n / k: E |C - AB|^2 = (n - k) / (k (n - 1)) times
/// (n sum_i |T_i|^2 - |AB|^2) (Cochran 1977, theorem 2.2).
TEST(Uniform, HasTheVarianceOfTheFormula) {
  for (const auto& layer : layers()) {
    const Contributions terms = of_input_channels(layer);
    const auto n = static_cast<double>(terms.terms.size());
    const auto k = static_cast<double>(kHalf.kept(terms.terms.size()));
    double squares = 0;
    for (std::size_t i = 0; i < terms.terms.size(); ++i) {
      squares += terms.square(i);
    }
    const double expected =
        (n - k) / (k * (n - 1)) * (n * squares - terms.sum().square().sum().item<double>());
    expect_mean(squared_errors(layer, by("uniform", kHalf, Scaling::unbiased)), expected, "uniform");
  }
}

/// Central differences of the loss along random directions.
void expect_derivative(const Layer& layer, const ProductApproximation& how) {
  const Pass pass = approximate(layer, how);
  const auto loss = [&](const at::Tensor& x, const at::Tensor& weight) {
    const Layer moved{.x = x, .weight = weight, .probe = layer.probe, .shape = layer.shape};
    return (approximate(moved, how).y * layer.probe).sum().item<double>();
  };
  constexpr double kStep = 1e-6;
  for (std::uint64_t seed = 20; seed < 25; ++seed) {
    const at::Tensor of_x = random_doubles(layer.x.sizes(), seed);
    const at::Tensor of_weight = random_doubles(layer.weight.sizes(), seed + 100);
    const double along_x =
        (loss(layer.x + kStep * of_x, layer.weight) - loss(layer.x - kStep * of_x, layer.weight)) /
        (2 * kStep);
    const double along_weight =
        (loss(layer.x, layer.weight + kStep * of_weight) - loss(layer.x, layer.weight - kStep * of_weight)) /
        (2 * kStep);
    EXPECT_NEAR((pass.dx * of_x).sum().item<double>(), along_x, 1e-5 * (1 + std::abs(along_x)));
    EXPECT_NEAR((pass.dw * of_weight).sum().item<double>(), along_weight,
                1e-5 * (1 + std::abs(along_weight)));
  }
}

TEST(ForwardSampling, HasItsNumericalDerivativeWhereTheChoiceStays) {
  for (const auto& layer : layers()) {
    for (const auto* name : {"topk", "adaptive", "narrow", "uniform"}) {
      expect_derivative(layer, {.forward = by(name), .input_gradient = {}, .weight_gradient = {}});
    }
    expect_derivative(layer, {});
  }
}

TEST(ApproximateLinear, TakesAnyLeadingDimensionsAndABias) {
  const at::Tensor x = random_doubles({6, 12}, 1).view({2, 3, 12});
  const at::Tensor weight = random_doubles({5, 12}, 2);
  const at::Tensor bias = random_doubles({1, 5}, 3).view({5});
  expect_close(approximate_linear(x, weight, bias, {}, {}), at::linear(x, weight, bias), "exact");
  const ProductApproximation how{.forward = by("topk"), .input_gradient = {}, .weight_gradient = {}};
  expect_close(approximate_linear(x, weight, bias, how, {}),
               approximate_linear(x.view({6, 12}), weight, {}, how, {}).view({2, 3, 5}) + bias, "sampled");
}

TEST(ApproximateConv2d, AddsItsBias) {
  const Layer layer = convolution();
  const at::Tensor bias = random_doubles({1, 24}, 3).view({24});
  const auto& shape = *layer.shape;
  expect_close(approximate_conv2d(layer.x, layer.weight, bias, shape, {}, {}),
               at::conv2d(layer.x, layer.weight, bias, shape.stride, shape.padding, shape.dilation), "bias");
}

TEST(ProductApproximation, TellsItsShareOfTheArithmetic) {
  const Approximation half = by("topk");  // of 64 terms 32, of 32 terms 16
  const auto share = [](const ProductApproximation& how) { return how.share_of_flops(64, 32); };
  EXPECT_DOUBLE_EQ(share({}), 1);
  EXPECT_DOUBLE_EQ(share({.forward = half, .input_gradient = {}, .weight_gradient = {}}), 0.5);
  EXPECT_DOUBLE_EQ(
      share({.forward = half, .gradient_of_all = true, .input_gradient = {}, .weight_gradient = {}}),
      2.5 / 3);
  EXPECT_DOUBLE_EQ(share({.forward = {}, .input_gradient = half, .weight_gradient = half}), 2.0 / 3);
  EXPECT_DOUBLE_EQ(share({.forward = half, .input_gradient = half, .weight_gradient = half}), 1.0 / 3);
}

TEST(ProductApproximation, RefusesWhatHasNoMeaning) {
  const Approximation aged{.sampler = make_sampler("aged"), .size = kHalf};
  EXPECT_THROW(
      (ProductApproximation{.forward = aged, .input_gradient = {}, .weight_gradient = {}}.validate()), Error);
  const Approximation weights = by("topk", kHalf, Scaling::usual, TermNorms::weights);
  EXPECT_THROW(
      (ProductApproximation{.forward = {}, .input_gradient = {}, .weight_gradient = weights}.validate()),
      Error);
  EXPECT_NO_THROW((
      ProductApproximation{.forward = weights, .input_gradient = weights, .weight_gradient = {}}.validate()));
}

}  // namespace
}  // namespace slicereduce
