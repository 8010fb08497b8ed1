#include "models/layout.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/choice.hpp"
#include "core/error.hpp"
#include "core/overloaded.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

/// What is known where a chain of parts has come to.
struct Chain {
  Steps steps;
  /// Of the last layer, while nothing has mixed or copied its channels: the next one may say which of them
  /// are to be computed.
  std::optional<std::size_t> producer;  ///< its place in `steps`
  std::optional<std::size_t> taken;     ///< site whose channels are all that there are
  /// Site of the first sampled layer, if it reads what came into the chain.
  std::optional<std::size_t> input_site;
};

/// Whether the first thing a chain does is to read its input with a sampled layer.
bool begins_with_sampled_layer(const Parts& parts) {
  const auto* convolution = parts.empty() ? nullptr : std::get_if<Convolution>(&parts.front().kind);
  return convolution != nullptr && convolution->sampled;
}

class Builder {
 public:
  Builder(const Architecture& architecture, Coupling coupling, bool sample_classifier) {
    layout_.architecture = architecture;
    layout_.coupling = coupling;
    sample_classifier_ = sample_classifier;
  }

  Layout build() {
    Chain chain;
    const Parts& parts = layout_.architecture.parts;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      is_classifier_ = i + 1 == parts.size();
      add(parts[i], chain);
    }
    layout_.steps = std::move(chain.steps);
    return std::move(layout_);
  }

 private:
  std::size_t add_site(const std::string& name, std::int64_t channels) {
    layout_.sites.push_back({.name = name, .channels = channels});
    return layout_.sites.size() - 1;
  }

  std::size_t add_parameter(ParameterShape shape, FirstValues first) {
    layout_.parameters.push_back(std::move(shape));
    layout_.first_values.push_back(first);
    return layout_.parameters.size() - 1;
  }

  std::size_t add_vector(const std::string& name, std::int64_t channels, FirstValues first) {
    return add_parameter(
        {.name = name, .sizes = {channels}, .row_site = {}, .column_site = {}, .vector = true}, first);
  }

  void add_parts(const Parts& parts, Chain& chain) {
    for (const Part& part : parts) {
      add(part, chain);
    }
  }

  void add(const Part& part, Chain& chain) {
    std::visit(Overloaded{
                   [&](const Convolution& convolution) { add_convolution(convolution, chain); },
                   [&](const Linear& linear) { add_linear(linear, chain); },
                   [&](const Norm& norm) { add_norm(norm, chain); },
                   [&](const Relu& relu) { chain.steps.push_back({relu}); },
                   [&](const MaxPool& pool) { chain.steps.push_back({pool}); },
                   [&](const MeanPool& pool) { chain.steps.push_back({pool}); },
                   [&](const Flatten& flatten) {
                     chain.steps.push_back({flatten});
                     chain.producer.reset();  // its channels are several features each now
                   },
                   [&](const Dropout& dropout) {
                     chain.steps.push_back({DropoutStep{
                         .p = dropout.p, .whole_maps = dropout.whole_maps, .number = dropouts_++}});
                   },
                   [&](const Residual& residual) { add_residual(residual, chain); },
               },
               part.kind);
  }

  void add_convolution(const Convolution& shape, Chain& chain) {
    Layer layer{.name = shape.name, .kernel = shape.kernel, .stride = shape.stride};
    const std::int64_t taps = shape.kernel * shape.kernel;
    layer.input_site = input_site(shape.name, shape.in, shape.sampled, chain);
    layer.weight = add_parameter({.name = shape.name + ".weight",
                                  .sizes = {shape.out, shape.in, shape.kernel, shape.kernel},
                                  .row_site = {},
                                  .column_site = layer.input_site},
                                 first_values(shape.in * taps, shape.out * taps));
    if (shape.has_bias) {
      layer.bias = add_vector(shape.name + ".bias", shape.out, first_bias(shape.in * taps));
    }
    if (layer.weight == 0) {
      layout_.stem_weight = layer.weight;
    }
    add_layer(layer, chain);
  }

  void add_linear(const Linear& shape, Chain& chain) {
    const bool sampled = is_classifier_ ? sample_classifier_ : shape.sampled;
    Layer layer{.name = shape.name, .is_linear = true};
    layer.input_site = input_site(shape.name, shape.in, sampled, chain);
    const FirstValues uniform{.kind = FirstValues::Kind::uniform, .value = bound(shape.in)};
    layer.weight = add_parameter({.name = shape.name + ".weight",
                                  .sizes = {shape.out, shape.in},
                                  .row_site = {},
                                  .column_site = layer.input_site},
                                 uniform);
    layer.bias = add_vector(shape.name + ".bias", shape.out, uniform);
    if (is_classifier_) {
      layout_.classifier_site = layer.input_site;
      layout_.classifier_weight = layer.weight;
    }
    add_layer(layer, chain);
  }

  void add_layer(const Layer& layer, Chain& chain) {
    chain.taken.reset();
    chain.producer = chain.steps.size();
    chain.steps.push_back({layer});
  }

  /// The site of a layer's input, and the steps that bring it there: its predecessor computes just that where
  /// both are coupled.
  std::optional<std::size_t> input_site(const std::string& name, std::int64_t channels, bool sampled,
                                        Chain& chain) {
    if (!sampled) {
      return std::nullopt;
    }
    if (chain.taken) {
      return chain.taken;
    }
    const bool reads_input = !chain.producer && chain.input_site;
    const std::size_t site = reads_input ? *chain.input_site : add_site(name, channels);
    if (chain.producer && layout_.coupling == Coupling::block) {
      couple(site, chain);
      chain.steps.push_back({ScaleStep{.site = site}});
    } else {
      chain.steps.push_back({TakeStep{.site = site}});
    }
    return site;
  }

  /// The last layer computes no more than `site` keeps, and what follows it sees no more.
  void couple(std::size_t site, Chain& chain) {
    auto& producer = std::get<Layer>(chain.steps[*chain.producer].kind);
    producer.output_site = site;
    layout_.parameters[producer.weight].row_site = site;
    if (producer.bias) {
      layout_.parameters[*producer.bias].column_site = site;
    }
    for (std::size_t i = *chain.producer + 1; i < chain.steps.size(); ++i) {
      if (auto* norm = std::get_if<NormStep>(&chain.steps[i].kind)) {
        norm->site = site;
        layout_.parameters[norm->weight].column_site = site;
        layout_.parameters[norm->bias].column_site = site;
        layout_.statistics[norm->statistics].site = site;
      }
    }
  }

  void add_norm(const Norm& shape, Chain& chain) {
    NormStep norm;
    norm.weight = add_vector(shape.name + ".weight", shape.channels, {.value = 1});
    norm.bias = add_vector(shape.name + ".bias", shape.channels, {.value = 0});
    layout_.statistics.push_back({.name = shape.name, .channels = shape.channels, .site = {}});
    norm.statistics = layout_.statistics.size() - 1;
    chain.steps.push_back({norm});
  }

  void add_residual(const Residual& shape, Chain& outer) {
    const std::size_t site = add_site(shape.name + ".input", input_channels(shape.branch));
    ResidualStep step{.site = {},
                      .branch = {},
                      .shortcut = shape.shortcut,
                      .projection = {},
                      .stride = shape.stride,
                      .out = shape.out};
    if (begins_with_sampled_layer(shape.branch)) {
      step.site = site;
    }
    step.branch = chain_of(shape.branch, site, step.site);
    step.projection = chain_of(shape.projection, site, step.site);
    outer.producer.reset();  // a sum has all channels
    outer.steps.push_back({std::move(step)});
  }

  Steps chain_of(const Parts& parts, std::size_t site, std::optional<std::size_t> taken) {
    Chain chain{.steps = {}, .producer = {}, .taken = taken, .input_site = site};
    add_parts(parts, chain);
    return std::move(chain.steps);
  }

  static std::int64_t input_channels(const Parts& branch) {
    for (const Part& part : branch) {
      if (const auto* convolution = std::get_if<Convolution>(&part.kind)) {
        return convolution->in;
      }
    }
    throw Error(ErrorKind::invariant, "a residual branch has no convolution");
  }

  static double bound(std::int64_t fan_in) { return 1.0 / std::sqrt(static_cast<double>(fan_in)); }

  /// Of a convolution's weight.
  [[nodiscard]] FirstValues first_values(std::int64_t fan_in, std::int64_t fan_out) const {
    using Kind = FirstValues::Kind;
    switch (layout_.architecture.initialization) {
      case Initialization::torchvision:
        return {.kind = Kind::normal, .value = std::sqrt(2.0 / static_cast<double>(fan_out))};
      case Initialization::pytorch:
        return {.kind = Kind::uniform, .value = bound(fan_in)};
      case Initialization::xavier:
        // xavier_uniform with gain sqrt(2) (Glorot and Bengio 2010, equation 16).
        return {.kind = Kind::uniform, .value = std::sqrt(12.0 / static_cast<double>(fan_in + fan_out))};
    }
    throw Error(ErrorKind::invariant, "an initialization is unknown");
  }

  /// Of a convolution's bias.
  [[nodiscard]] FirstValues first_bias(std::int64_t fan_in) const {
    if (layout_.architecture.initialization == Initialization::pytorch) {
      return {.kind = FirstValues::Kind::uniform, .value = bound(fan_in)};
    }
    return {.value = 0};
  }

  Layout layout_;
  bool sample_classifier_ = false;
  bool is_classifier_ = false;
  std::size_t dropouts_ = 0;
};

}  // namespace

Coupling parse_coupling(const std::string& name) {
  return parse_choice<Coupling>(name, "--coupling", {{"block", Coupling::block}, {"none", Coupling::none}});
}

std::string to_string(Coupling coupling) { return coupling == Coupling::block ? "block" : "none"; }

bool has_dropout(const Steps& steps) {
  return std::ranges::any_of(steps, [](const Step& step) {
    const auto* residual = std::get_if<ResidualStep>(&step.kind);
    return std::holds_alternative<DropoutStep>(step.kind) ||
           (residual != nullptr && (has_dropout(residual->branch) || has_dropout(residual->projection)));
  });
}

Layout make_layout(const Architecture& architecture, Coupling coupling, bool sample_classifier) {
  return Builder(architecture, coupling, sample_classifier).build();
}

}  // namespace slicereduce
