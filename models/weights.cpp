#include "models/weights.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <sstream>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

const std::string kMean = ".running_mean";
const std::string kVariance = ".running_var";
const std::string kTracked = ".num_batches_tracked";
const std::string kChannels = "channels.";
const std::string kScale = "scale.";
const std::string kWaiting = "waiting.";

std::string text_of(at::IntArrayRef sizes) {
  std::ostringstream out;
  out << sizes;
  return out.str();
}

/// The tensors of a state by name, each to be taken once.
class Shelf {
 public:
  Shelf(const StateDict& state, std::string_view where) : where_(where) {
    for (const auto& [name, tensor] : state) {
      tensors_.emplace(name, tensor);
    }
  }

  at::Tensor take(const std::string& name, at::IntArrayRef sizes) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw Error(ErrorKind::input,
                  concat(where_, " has no tensor '", name, "': is it of another architecture?"));
    }
    at::Tensor tensor = found->second;
    if (tensor.sizes() != sizes) {
      throw Error(ErrorKind::input,
                  concat(where_, ": '", name, "' is ", text_of(tensor.sizes()), ", expected ", text_of(sizes),
                         ": is it of another architecture or number of classes?"));
    }
    tensors_.erase(found);
    return tensor;
  }

  void drop(const std::string& name) { tensors_.erase(name); }

  void require_empty() const {
    if (!tensors_.empty()) {
      throw Error(ErrorKind::input, concat(where_, " has a tensor '", printable(tensors_.begin()->first),
                                           "' that this network lacks: is it of another architecture?"));
    }
  }

 private:
  std::string where_;
  std::unordered_map<std::string, at::Tensor> tensors_;
};

/// Copies that happen only once everything was found.
class Copies {
 public:
  void plan(const at::Tensor& to, at::Tensor from) { pairs_.emplace_back(to, std::move(from)); }
  void carry_out() const {
    const c10::NoGradGuard no_grad;
    for (const auto& [to, from] : pairs_) {
      to.copy_(from);
    }
  }

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs_;
};

void plan_statistics(Copies& copies, const Layout& layout, const NormStatistics& statistics, Shelf& shelf) {
  for (std::size_t i = 0; i < layout.statistics.size(); ++i) {
    const auto& norm = layout.statistics[i];
    copies.plan(statistics.mean[i], shelf.take(norm.name + kMean, {norm.channels}));
    copies.plan(statistics.variance[i], shelf.take(norm.name + kVariance, {norm.channels}));
    shelf.drop(norm.name + kTracked);
  }
}

at::Tensor indices_of(const ChannelSet& set) {
  return at::from_blob(const_cast<std::int32_t*>(set.kept.data()), {set.size()}, at::kInt).to(at::kLong);
}

/// What can't be channels comes to a set that its check() refuses.
std::vector<std::int32_t> channels_of(const at::Tensor& kept, std::int64_t channels) {
  if (kept.numel() > channels) {
    return {};
  }
  const at::Tensor indices = kept.flatten().to(at::kLong).contiguous();
  const std::span numbers(indices.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(indices.numel()));
  std::vector<std::int32_t> found;
  for (const std::int64_t number : numbers) {
    found.push_back(number >= 0 && number < channels ? static_cast<std::int32_t>(number) : -1);
  }
  return found;
}

at::Tensor kept_of(const at::Tensor& vector, const Plan& plan, std::optional<std::size_t> site) {
  return site ? vector.index_select(0, indices_of(plan.sets[*site]).to(vector.device())) : vector.clone();
}

/// Puts a batch norm's buffers right behind its bias, where a module's state_dict has them.
template <typename AddStatistics>
StateDict in_module_order(const Layout& layout, std::span<const at::Tensor> values,
                          const AddStatistics& add) {
  std::unordered_map<std::string, std::size_t> norm_of_bias;
  for (std::size_t i = 0; i < layout.statistics.size(); ++i) {
    norm_of_bias.emplace(layout.statistics[i].name + ".bias", i);
  }
  StateDict state;
  for (std::size_t p = 0; p < layout.parameters.size(); ++p) {
    state.emplace_back(layout.parameters[p].name, values[p].contiguous());
    if (const auto norm = norm_of_bias.find(layout.parameters[p].name); norm != norm_of_bias.end()) {
      add(state, norm->second);
    }
  }
  return state;
}

}  // namespace

StateDict network_state(const Network& network, const NormStatistics& statistics, std::int64_t steps) {
  return in_module_order(network.layout(), network.values(), [&](StateDict& state, std::size_t i) {
    const auto& name = network.layout().statistics[i].name;
    state.emplace_back(name + kMean, statistics.mean[i]);
    state.emplace_back(name + kVariance, statistics.variance[i]);
    state.emplace_back(name + kTracked, at::full({}, steps, at::kLong));
  });
}

StateDict sampled_state(const Network& network, const Plan& plan, const NormStatistics& statistics,
                        std::int64_t steps) {
  CompactNetwork compact;
  network.gather(plan, Precision::fp32, compact);
  std::vector<at::Tensor> values;
  values.reserve(compact.leaves.size());
  for (const auto& leaf : compact.leaves) {
    values.push_back(leaf.detach());
  }
  StateDict state = in_module_order(network.layout(), values, [&](StateDict& dict, std::size_t i) {
    const auto& norm = network.layout().statistics[i];
    dict.emplace_back(norm.name + kMean, kept_of(statistics.mean[i], plan, norm.site));
    dict.emplace_back(norm.name + kVariance, kept_of(statistics.variance[i], plan, norm.site));
    dict.emplace_back(norm.name + kTracked, at::full({}, steps, at::kLong));
  });
  for (auto& [name, tensor] : plan_state(network.layout().sites, plan)) {
    state.emplace_back(name, tensor);
  }
  return state;
}

void require_parameters(const Layout& layout, const StateDict& state, std::string_view where) {
  Shelf shelf(state, where);
  for (const auto& parameter : layout.parameters) {
    (void)shelf.take(parameter.name, parameter.sizes);
  }
}

void load_network_state(Network& network, const StateDict& state, std::string_view where) {
  Shelf shelf(state, where);
  Copies copies;
  for (const auto& parameter : network.parameters()) {
    copies.plan(parameter.value, shelf.take(parameter.shape.name, parameter.shape.sizes));
  }
  plan_statistics(copies, network.layout(), network.statistics(), shelf);
  shelf.require_empty();
  copies.carry_out();
}

StateDict parameter_tensors(const Network& network, std::span<const at::Tensor> tensors) {
  StateDict state;
  for (std::size_t p = 0; p < tensors.size(); ++p) {
    state.emplace_back(network.layout().parameters[p].name, tensors[p]);
  }
  return state;
}

void load_parameter_tensors(const Network& network, std::span<const at::Tensor> tensors,
                            const StateDict& state, std::string_view where) {
  Shelf shelf(state, where);
  Copies copies;
  for (std::size_t p = 0; p < tensors.size(); ++p) {
    const auto& shape = network.layout().parameters[p];
    copies.plan(tensors[p], shelf.take(shape.name, shape.sizes));
  }
  shelf.require_empty();
  copies.carry_out();
}

StateDict statistics_state(const Network& network, const NormStatistics& statistics) {
  StateDict state;
  for (std::size_t i = 0; i < network.layout().statistics.size(); ++i) {
    const auto& name = network.layout().statistics[i].name;
    state.emplace_back(name + kMean, statistics.mean[i]);
    state.emplace_back(name + kVariance, statistics.variance[i]);
  }
  return state;
}

void load_statistics(const Network& network, NormStatistics& statistics, const StateDict& state,
                     std::string_view where) {
  Shelf shelf(state, where);
  Copies copies;
  plan_statistics(copies, network.layout(), statistics, shelf);
  shelf.require_empty();
  copies.carry_out();
}

StateDict plan_state(std::span<const Site> sites, const Plan& plan) {
  StateDict state;
  for (std::size_t s = 0; s < sites.size(); ++s) {
    const ChannelSet& set = plan.sets[s];
    if (set.full()) {
      continue;
    }
    state.emplace_back(kChannels + sites[s].name, indices_of(set));
    if (!set.scale.empty()) {
      state.emplace_back(
          kScale + sites[s].name,
          at::from_blob(const_cast<float*>(set.scale.data()), {set.size()}, at::kFloat).clone());
    }
  }
  return state;
}

Plan plan_from_state(std::span<const Site> sites, const StateDict& state, std::string_view where) {
  Plan plan = Plan::full(sites);
  for (std::size_t s = 0; s < sites.size(); ++s) {
    ChannelSet& set = plan.sets[s];
    if (const at::Tensor* kept = find_tensor(state, kChannels + sites[s].name)) {
      set.kept = channels_of(*kept, sites[s].channels);
    }
    if (const at::Tensor* scale = find_tensor(state, kScale + sites[s].name)) {
      const at::Tensor values = scale->flatten().to(at::kFloat).contiguous();
      set.scale.assign(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
    }
    try {
      set.check();
    } catch (const Error&) {
      throw Error(ErrorKind::input, concat(where, ": the channels of '", sites[s].name, "' don't fit its ",
                                           sites[s].channels, ": is it of another architecture?"));
    }
  }
  return plan;
}

StateDict planner_state(const Planner& planner) {
  StateDict state = plan_state(planner.sites(), planner.current());
  const auto& waiting = planner.state().waiting;
  for (std::size_t s = 0; s < waiting.size(); ++s) {
    if (!waiting[s].empty()) {
      const auto numel = static_cast<std::int64_t>(waiting[s].size());
      const at::Tensor counts = at::empty({numel}, at::kInt);
      std::copy(waiting[s].begin(), waiting[s].end(), counts.mutable_data_ptr<std::int32_t>());
      state.emplace_back(kWaiting + planner.sites()[s].name, counts);
    }
  }
  return state;
}

void load_planner(Planner& planner, double ratio, const StateDict& state, std::string_view where) {
  PlannerState loaded = planner.state();
  loaded.plan = plan_from_state(planner.sites(), state, where);
  loaded.ratio = ratio;
  for (std::size_t s = 0; s < loaded.waiting.size(); ++s) {
    const at::Tensor* counts = find_tensor(state, kWaiting + planner.sites()[s].name);
    if (counts != nullptr && counts->numel() == static_cast<std::int64_t>(loaded.waiting[s].size())) {
      const at::Tensor values = counts->to(at::kInt).contiguous();
      const auto* first = values.const_data_ptr<std::int32_t>();
      loaded.waiting[s].assign(first, first + values.numel());
    }
  }
  planner.adopt(std::move(loaded));
}

}  // namespace slicereduce
