#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/random.hpp"
#include "sampling/sampler.hpp"

namespace slicereduce {

/// Norms that decide over the terms of a product: a term is a column of one factor times a row of the other.
enum class TermNorms {
  both,     ///< |a_i| |b_i|
  weights,  ///< |b_i| of the weights alone, which all ranks share
  subset,   ///< |a_i| |b_i| over a few entries, drawn anew each time: ten neighbouring rows and columns of
            ///< matrices, one pixel and one tap of a convolution
};

/// Throws Error(usage) for another name.
[[nodiscard]] TermNorms parse_term_norms(const std::string& name);

/// A product as the sum of the terms that a sampler keeps. Exact where `size` keeps them all.
struct Approximation {
  std::shared_ptr<const Sampler> sampler;
  SampleSize size;
  TermNorms norms = TermNorms::both;
};

/// How a linear map or a convolution is approximated: the three products of a training step apart. What is
/// not set is exact. With `forward` alone the result is the paper's *forward sampling*, with
/// `gradient_of_all` its *black box*, and with one or both of the others alone its *backward sampling*
/// (section 4).
struct ProductApproximation {
  std::optional<Approximation> forward;  ///< terms: input channels
  /// Whether what `forward` left out has a gradient too: that of the exact product. Else it is exactly zero.
  bool gradient_of_all = false;
  std::optional<Approximation> input_gradient;   ///< terms: output channels
  std::optional<Approximation> weight_gradient;  ///< terms: examples; of a linear map, all rows of its input

  /// Throws Error(usage): a sampler that counts draws, TermNorms::weights where there are none.
  void validate() const;
  /// Of the exact products' multiplications, those of a layer of many examples: a third each are the forward
  /// product's, the input's gradient's and the weights' gradient's. As if a sampler kept what its size says:
  /// those of random size, and adaptive, keep other numbers.
  [[nodiscard]] double share_of_flops(std::int64_t in, std::int64_t out) const;
};

/// Vertical, then horizontal.
struct ConvolutionShape {
  std::array<std::int64_t, 2> stride{1, 1};
  std::array<std::int64_t, 2> padding{0, 0};
  std::array<std::int64_t, 2> dilation{1, 1};
  /// A term is then a place in every group at once: the sum inside a group is what is approximated.
  std::int64_t groups = 1;
};

/// [*, out] of x [*, in], weight [out, in] and bias [out] or undefined. Differentiable once.
[[nodiscard]] at::Tensor approximate_linear(const at::Tensor& x, const at::Tensor& weight,
                                            const at::Tensor& bias, const ProductApproximation& how,
                                            const DrawKey& key);

/// [N, out, H', W'] of x [N, in, H, W], weight [out, in / groups, kh, kw] and bias [out] or undefined.
/// Differentiable once.
[[nodiscard]] at::Tensor approximate_conv2d(const at::Tensor& x, const at::Tensor& weight,
                                            const at::Tensor& bias, const ConvolutionShape& shape,
                                            const ProductApproximation& how, const DrawKey& key);

}  // namespace slicereduce
