#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/layout.hpp"
#include "sampling/approximate_product.hpp"
#include "sampling/placed_plan.hpp"
#include "sampling/sliced_parameter.hpp"

namespace slicereduce {

/// Running mean and variance of every batch norm, fp32, dense.
struct NormStatistics {
  std::vector<at::Tensor> mean;
  std::vector<at::Tensor> variance;

  [[nodiscard]] static NormStatistics initial(const Layout& layout, at::Device device = at::kCPU);
  [[nodiscard]] NormStatistics clone() const;
  /// Numbers alone: the tensors stay where they are, as a step that a device was given at once wants it.
  void copy_from(const NormStatistics& other);
};

/// What a forward pass does besides the arithmetic.
struct ForwardMode {
  bool batch_statistics = true;  ///< normalise by the batch, and move the running statistics; else by them
  double momentum = 0.1;         ///< of that move
  std::optional<DrawKey> draws;  ///< for dropout, and required by `products`; none: nothing is dropped
  /// How the products of layers that may be sampled are approximated; none: they are exact.
  const ProductApproximation* products = nullptr;
};

/// Of the arithmetic: with bf16 weights are rounded copies of those that SGD keeps in fp32.
enum class Precision { fp32, bf16 };
/// Throws Error(usage) for another name.
[[nodiscard]] Precision parse_precision(const std::string& name);
[[nodiscard]] std::string to_string(Precision precision);

/// The network that a plan leaves: the sets to gather activations with, and one tensor a parameter.
struct CompactNetwork {
  PlacedPlan plan;
  std::vector<at::Tensor> leaves;  ///< of compact sizes
};

/// Dense weights that all ranks share, and the way to run the small network inside them.
class Network {
 public:
  /// Weights drawn as the layout says. A function of `seed`, the same on every device.
  Network(Layout layout, std::uint64_t seed, at::Device device = at::kCPU);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  [[nodiscard]] const Layout& layout() const { return layout_; }
  /// Where weights and statistics are, and images are expected.
  [[nodiscard]] at::Device device() const { return device_; }
  [[nodiscard]] std::span<SlicedParameter> parameters() { return parameters_; }
  [[nodiscard]] std::span<const SlicedParameter> parameters() const { return parameters_; }
  /// The parameters' tensors, in order.
  [[nodiscard]] std::vector<at::Tensor> values() const;
  [[nodiscard]] NormStatistics& statistics() { return statistics_; }
  [[nodiscard]] const NormStatistics& statistics() const { return statistics_; }

  /// Copies what `plan` leaves of each weight into `compact`'s leaves, whose tensors are kept where
  /// their sizes still fit. A whole fp32 weight is not copied: its leaf shares its memory. Batch
  /// norm's leaves are fp32 in either precision. Leaves require gradients.
  void gather(const Plan& plan, Precision precision, CompactNetwork& compact) const;
  /// The same by indices that are on the device.
  void gather(const PlacedPlan& plan, Precision precision, CompactNetwork& compact) const;

  /// Logits [N, num_classes], fp32, of images [N, C, H, W] (channels_last, fp32). Builds the autograd
  /// graph unless gradients are off. Updates `statistics` as `mode` says, in the channels that the
  /// network has.
  [[nodiscard]] at::Tensor forward(const CompactNetwork& compact, const at::Tensor& images,
                                   NormStatistics& statistics, const ForwardMode& mode) const;

  /// XXH3 of all learnable values, in order.
  [[nodiscard]] std::uint64_t weights_digest() const;
  /// Whether all of them, and the running statistics, are numbers.
  [[nodiscard]] bool is_finite() const;

 private:
  Layout layout_;
  at::Device device_;
  std::vector<SlicedParameter> parameters_;
  NormStatistics statistics_;
};

}  // namespace slicereduce
