#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "models/architecture.hpp"
#include "sampling/plan.hpp"
#include "sampling/sliced_parameter.hpp"

namespace slicereduce {

/// What happens to the outputs that the next layer does not keep.
enum class Coupling {
  block,  ///< they are not computed: the layer and what follows it lose those rows too; exact
  none,   ///< they are computed and dropped, as in the published scheme
};

/// Throws Error(usage) for another name.
[[nodiscard]] Coupling parse_coupling(const std::string& name);
[[nodiscard]] std::string to_string(Coupling coupling);

/// A convolution or a linear map: indices into the layout's parameters and sites.
struct Layer {
  std::string name;
  bool is_linear = false;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::size_t weight = 0;
  std::optional<std::size_t> bias;
  std::optional<std::size_t> input_site;   ///< keeps its input channels
  std::optional<std::size_t> output_site;  ///< keeps its output channels (coupled layers only)
};

/// Batch norm: indices into the layout's parameters, statistics and sites.
struct NormStep {
  std::size_t weight = 0;
  std::size_t bias = 0;
  std::size_t statistics = 0;
  std::optional<std::size_t> site;  ///< of the channels that there are to normalise
};

/// Keeps a site's channels of what it reads, times their scale.
struct TakeStep {
  std::size_t site = 0;
};

/// Multiplies by a site's scale: its channels are all that there are.
struct ScaleStep {
  std::size_t site = 0;
};

/// Dropout that knows its place, which its random numbers depend on.
struct DropoutStep {
  double p = 0;
  bool whole_maps = false;
  std::size_t number = 0;  ///< of the network's dropouts
};

struct Step;
/// One after the other.
using Steps = std::vector<Step>;

/// The sum of a branch and a shortcut.
struct ResidualStep {
  /// Whose channels are taken of its input, for the branch and for a projection. Where none, they take by
  /// themselves.
  std::optional<std::size_t> site;
  Steps branch;
  Shortcut shortcut = Shortcut::identity;
  Steps projection;
  std::int64_t stride = 1;  ///< of a shortcut that pads
  std::int64_t out = 0;
};

/// One operation of a forward pass, which knows its parameters and sites.
struct Step {
  std::variant<Layer, NormStep, TakeStep, ScaleStep, Relu, MaxPool, MeanPool, Flatten, DropoutStep,
               ResidualStep>
      kind;
};

/// Running statistics of one batch norm.
struct NormShape {
  std::string name;
  std::int64_t channels = 0;
  std::optional<std::size_t> site;  ///< whose set says which channels a step normalises
};

/// How a parameter's first values are drawn.
struct FirstValues {
  enum class Kind { constant, normal, uniform };
  Kind kind = Kind::constant;
  double value = 0;  ///< the constant, the standard deviation, or the bound
};

/// Where everything of a network is: parameters in the order of use (torchvision's), the sites where channels
/// are chosen, and the steps of a forward pass. A block's input is one site, shared by its first convolution
/// and its projection, so that where both begin with it it is gathered once; each other sampled layer's input
/// is another. Between two layers that are coupled, all steps see the kept channels alone.
struct Layout {
  Architecture architecture;
  Coupling coupling = Coupling::block;
  std::vector<Site> sites;
  std::vector<ParameterShape> parameters;
  std::vector<FirstValues> first_values;  ///< by parameter
  std::vector<NormShape> statistics;
  Steps steps;
  std::optional<std::size_t>
      stem_weight;  ///< of a first convolution: no input is left out, and mode feedback does not cut it
  std::optional<std::size_t> classifier_site;
  std::size_t classifier_weight = 0;
};

/// Whether a forward pass of training draws random numbers.
[[nodiscard]] bool has_dropout(const Steps& steps);

[[nodiscard]] Layout make_layout(const Architecture& architecture, Coupling coupling, bool sample_classifier);

}  // namespace slicereduce
