#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/architecture.hpp"
#include "sampling/plan.hpp"
#include "sampling/sliced_parameter.hpp"

namespace slicereduce {

/// What happens to the outputs that the next convolution of a block does not keep.
enum class Coupling {
  block,  ///< they are not computed: convolution and batch norm lose those rows too; exact
  none,   ///< they are computed and dropped, as in the published scheme
};

/// Throws Error(usage) for another name.
[[nodiscard]] Coupling parse_coupling(const std::string& name);
[[nodiscard]] std::string to_string(Coupling coupling);

/// A convolution with its batch norm: indices into the layout's parameters, statistics and sites.
struct Layer {
  ConvNorm shape;
  std::size_t weight = 0;
  std::size_t norm_weight = 0;
  std::size_t norm_bias = 0;
  std::size_t statistics = 0;
  std::optional<std::size_t> input_site;   ///< keeps its input channels
  std::optional<std::size_t> output_site;  ///< keeps its output channels (coupled layers only)
};

struct Block {
  std::size_t input_site = 0;
  std::vector<Layer> chain;
  Shortcut shortcut = Shortcut::identity;
  std::optional<Layer> projection;
};

/// Running statistics of one batch norm.
struct NormShape {
  std::string name;
  std::int64_t channels = 0;
  std::optional<std::size_t> site;  ///< whose set says which channels a step normalises
};

/// Where everything of a network is: parameters in torchvision's order (which is the order of use),
/// and the sites where channels are chosen. A block's input is one site, shared by its first
/// convolution and its projection, so that it is gathered once; each inner convolution's input is another.
/// The stem is never sampled, the classifier only on request.
struct Layout {
  Architecture architecture;
  Coupling coupling = Coupling::block;
  std::vector<Site> sites;
  std::vector<ParameterShape> parameters;
  std::vector<NormShape> statistics;
  Layer stem;
  std::vector<Block> blocks;
  std::optional<std::size_t> classifier_site;
  std::size_t classifier_weight = 0;
  std::size_t classifier_bias = 0;
};

[[nodiscard]] Layout make_layout(const Architecture& architecture, Coupling coupling, bool sample_classifier);

}  // namespace slicereduce
