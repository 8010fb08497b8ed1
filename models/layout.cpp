#include "models/layout.hpp"

#include "core/choice.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

class Builder {
 public:
  Builder(const Architecture& architecture, Coupling coupling) {
    layout_.architecture = architecture;
    layout_.coupling = coupling;
  }

  Layout build(bool sample_classifier) {
    layout_.stem = add_layer(layout_.architecture.stem, {}, {});
    for (const auto& block : layout_.architecture.blocks) {
      add_block(block);
    }
    add_classifier(sample_classifier);
    return std::move(layout_);
  }

 private:
  std::size_t add_site(const std::string& name, std::int64_t channels) {
    layout_.sites.push_back({.name = name, .channels = channels});
    return layout_.sites.size() - 1;
  }

  std::size_t add_parameter(ParameterShape shape) {
    layout_.parameters.push_back(std::move(shape));
    return layout_.parameters.size() - 1;
  }

  std::size_t add_vector(const std::string& name, std::int64_t channels, std::optional<std::size_t> site) {
    return add_parameter(
        {.name = name, .sizes = {channels}, .row_site = {}, .column_site = site, .vector = true});
  }

  Layer add_layer(const ConvNorm& shape, std::optional<std::size_t> input,
                  std::optional<std::size_t> output) {
    Layer layer{.shape = shape, .input_site = input, .output_site = output};
    layer.weight = add_parameter({.name = shape.conv + ".weight",
                                  .sizes = {shape.out, shape.in, shape.kernel, shape.kernel},
                                  .row_site = output,
                                  .column_site = input});
    layer.norm_weight = add_vector(shape.norm + ".weight", shape.out, output);
    layer.norm_bias = add_vector(shape.norm + ".bias", shape.out, output);
    layout_.statistics.push_back({.name = shape.norm, .channels = shape.out, .site = output});
    layer.statistics = layout_.statistics.size() - 1;
    return layer;
  }

  void add_block(const ResidualBlock& source) {
    Block block{.input_site = add_site(source.name + ".input", source.chain.front().in),
                .chain = {},
                .shortcut = source.shortcut,
                .projection = {}};
    std::size_t input = block.input_site;
    for (std::size_t i = 0; i < source.chain.size(); ++i) {
      const bool last = i + 1 == source.chain.size();
      // conv(i+1)'s input site is also what conv(i) has to compute, if coupled.
      const std::size_t next = last ? 0 : add_site(source.chain[i + 1].conv, source.chain[i + 1].in);
      const bool coupled = !last && layout_.coupling == Coupling::block;
      block.chain.push_back(add_layer(source.chain[i], input, coupled ? std::optional(next) : std::nullopt));
      input = next;
    }
    if (source.projection) {
      block.projection = add_layer(*source.projection, block.input_site, {});
    }
    layout_.blocks.push_back(std::move(block));
  }

  void add_classifier(bool sampled) {
    const auto& architecture = layout_.architecture;
    if (sampled) {
      layout_.classifier_site = add_site("fc", architecture.features);
    }
    layout_.classifier_weight = add_parameter({.name = "fc.weight",
                                               .sizes = {architecture.num_classes, architecture.features},
                                               .row_site = {},
                                               .column_site = layout_.classifier_site});
    layout_.classifier_bias = add_vector("fc.bias", architecture.num_classes, {});
  }

  Layout layout_;
};

}  // namespace

Coupling parse_coupling(const std::string& name) {
  return parse_choice<Coupling>(name, "--coupling", {{"block", Coupling::block}, {"none", Coupling::none}});
}

std::string to_string(Coupling coupling) { return coupling == Coupling::block ? "block" : "none"; }

Layout make_layout(const Architecture& architecture, Coupling coupling, bool sample_classifier) {
  return Builder(architecture, coupling).build(sample_classifier);
}

}  // namespace slicereduce
