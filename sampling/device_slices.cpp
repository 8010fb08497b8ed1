#include "sampling/device_slices.hpp"

#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <array>
#include <limits>
#include <optional>

#include "core/error.hpp"
#include "core/text.hpp"
#include "sampling/memory_order.hpp"
#include "sampling/slice_kernels.hpp"

namespace slicereduce::kernels {

namespace {

void require_launched(const char* failure) {
  if (failure != nullptr) {
    throw Error(ErrorKind::invariant, concat("a kernel was not launched: ", failure));
  }
}

/// On the current stream of `device`.
template <typename Entry>
void launch_all(std::span<const Entry> entries, at::Device device) {
  const c10::DeviceGuard guard(device);
  void* stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
  auto table = std::make_unique<Table<Entry>>();
  for (const Entry& entry : entries) {
    if (!table->add(entry)) {
      require_launched(launch(*table, stream));
      table = std::make_unique<Table<Entry>>();
      require(table->add(entry), "a kernel has more work than a launch can have");
    }
  }
  require_launched(launch(*table, stream));
}

template <typename Entry>
void run_all(std::span<const Entry> entries, at::Device device) {
  for (const Entry& entry : entries) {
    require(entry.threads() <= std::numeric_limits<std::uint32_t>::max(),
            "a tensor is too large for a kernel");
  }
  if (!device.is_cpu()) {
    return launch_all(entries, device);
  }
  for (const Entry& entry : entries) {
    for (std::int64_t thread = 0; thread < entry.threads(); ++thread) {
      run(entry, static_cast<std::uint32_t>(thread));
    }
  }
}

Number number_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return Number::fp32;
    case at::kBFloat16:
      return Number::bf16;
    case at::kHalf:
      return Number::fp16;
    default:
      throw Error(ErrorKind::invariant, concat("kernels know no ", c10::toString(tensor.scalar_type())));
  }
}

/// Whether its rows of `columns` numbers may be read 16 bytes at a time.
bool is_packed(const at::Tensor& tensor, std::int64_t columns) {
  constexpr std::uintptr_t kPackBytes = 16;
  return reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr()) % kPackBytes == 0 &&
         columns * static_cast<std::int64_t>(tensor.element_size()) % static_cast<std::int64_t>(kPackBytes) ==
             0;
}

Kept kept_of(const PlacedSet& placed) {
  const bool all = placed.set.size() == placed.set.channels;
  return {.indices = all ? nullptr : placed.kept.const_data_ptr<std::int64_t>(),
          .count = static_cast<std::int32_t>(placed.set.size())};
}

Kept kept_of(const PlacedPlan& plan, std::optional<std::size_t> site, std::int64_t count) {
  return site ? kept_of(*plan.set(*site))
              : Kept{.indices = nullptr, .count = static_cast<std::int32_t>(count)};
}

GatherEntry gather_entry(const SlicedParameter& parameter, const PlacedPlan& plan, const at::Tensor& leaf) {
  const auto& shape = parameter.shape;
  GatherEntry entry{.dense = parameter.value.const_data_ptr<float>(),
                    .leaf = leaf.mutable_data_ptr(),
                    .rows = kept_of(plan, shape.row_site, shape.rows()),
                    .columns = kept_of(plan, shape.column_site, shape.columns()),
                    .taps = static_cast<std::int32_t>(shape.taps()),
                    .all_columns = static_cast<std::int32_t>(shape.columns()),
                    .type = number_of(leaf)};
  require(entry.type != Number::fp16, "leaves are float or bfloat16");
  require(entry.numel() <= std::numeric_limits<std::uint32_t>::max(), "a weight is too large for a kernel");
  entry.packed = is_packed(leaf, entry.columns.count);
  return entry;
}

const float* scale_of(const PlacedSet& set) {
  return set.scale.defined() ? set.scale.const_data_ptr<float>() : nullptr;
}

/// A weight's squares, by groups of rows.
at::Tensor squares_like(const SlicedParameter& parameter) {
  const auto& shape = parameter.shape;
  const std::int64_t groups = UpdateEntry::groups(static_cast<std::int32_t>(shape.rows()));
  return shape.vector ? at::Tensor()
                      : at::empty({groups, shape.taps(), shape.columns()}, parameter.value.options());
}

class KernelPasses final : public WeightPasses {
 public:
  KernelPasses(std::span<const SlicedParameter> parameters, std::span<const at::Tensor> momentum)
      : parameters_(parameters), momentum_(momentum.begin(), momentum.end()) {
    for (const auto& parameter : parameters_) {
      squares_.push_back(squares_like(parameter));
    }
    refresh();
  }

  void update(std::size_t first, std::span<const SlicedParameter> cut, const PlacedPlan& plan,
              std::span<const Gradient> gradients, const SgdRule& rule) override {
    std::vector<at::Tensor> here;  // until they are read
    std::vector<UpdateEntry> entries;
    for (std::size_t i = 0; i < cut.size(); ++i) {
      const auto& shape = cut[i].shape;
      here.push_back(in_memory_order(gradients[i].dense().to(device())));
      UpdateEntry entry = entry_of(first + i);
      entry.gradient = here.back().const_data_ptr();
      entry.type = number_of(here.back());
      entry.rows = kept_of(plan, shape.row_site, shape.rows());
      entry.columns = kept_of(plan, shape.column_site, shape.columns());
      entry.step = rule.of(shape);
      entry.nesterov = rule.nesterov;
      if (rule.live != nullptr) {
        entry.live_lr = rule.live->lr.const_data_ptr<float>();
        entry.goes = rule.live->goes.const_data_ptr<std::int32_t>();
      }
      entries.push_back(entry);
    }
    run_all<UpdateEntry>(entries, device());
  }

  void refresh() override {
    std::vector<UpdateEntry> entries;
    for (std::size_t p = 0; p < parameters_.size(); ++p) {
      if (squares_[p].defined()) {
        entries.push_back(entry_of(p));
      }
    }
    run_all<UpdateEntry>(entries, device());
  }

  [[nodiscard]] at::Tensor norms(std::span<const Site> sites,
                                 std::span<const SlicedParameter> cut) const override {
    std::vector<NormEntry> entries(sites.size());
    std::int64_t channels = 0;
    for (const Site& site : sites) {
      channels += site.channels;
    }
    const at::Tensor all = at::empty({channels}, parameters_.front().value.options());
    float* next = all.mutable_data_ptr<float>();
    for (std::size_t s = 0; s < sites.size(); ++s) {
      entries[s].channels = static_cast<std::int32_t>(sites[s].channels);
      entries[s].norms = next;
      next += sites[s].channels;
    }
    for (std::size_t p = 0; p < cut.size(); ++p) {
      add_source(cut[p].shape, squares_[p], entries);
    }
    run_all<NormEntry>(entries, device());
    return all;
  }

 private:
  [[nodiscard]] at::Device device() const { return parameters_.front().value.device(); }

  /// That renews the squares alone.
  [[nodiscard]] UpdateEntry entry_of(std::size_t parameter) const {
    const auto& [shape, value] = parameters_[parameter];
    const at::Tensor& squares = squares_[parameter];
    return {.weights = value.mutable_data_ptr<float>(),
            .momentum = momentum_[parameter].mutable_data_ptr<float>(),
            .squares = squares.defined() ? squares.mutable_data_ptr<float>() : nullptr,
            .all_rows = static_cast<std::int32_t>(shape.rows()),
            .taps = static_cast<std::int32_t>(shape.taps()),
            .all_columns = static_cast<std::int32_t>(shape.columns()),
            .packed = is_packed(value, shape.columns()) && is_packed(momentum_[parameter], shape.columns())};
  }

  static void add_source(const ParameterShape& shape, const at::Tensor& squares,
                         std::vector<NormEntry>& entries) {
    // A vector's columns are its own channels, not inputs that it reads.
    if (!shape.column_site || shape.vector) {
      return;
    }
    NormEntry& entry = entries[*shape.column_site];
    require(entry.source_count < NormEntry::kMostSources,
            "a site is read by more weights than a kernel adds");
    entry.sources[entry.source_count++] = {
        .squares = squares.const_data_ptr<float>(),
        .lines = static_cast<std::int32_t>(squares.size(0) * squares.size(1))};
  }

  std::span<const SlicedParameter> parameters_;
  std::vector<at::Tensor> momentum_;
  std::vector<at::Tensor> squares_;  ///< by parameter, see UpdateEntry; none of vectors
};

}  // namespace

bool serve(at::Device device) { return device.is_cuda() && are_built(); }

void gather_slices(std::span<const SlicedParameter> parameters, const PlacedPlan& plan,
                   std::span<const at::Tensor> leaves) {
  std::vector<GatherEntry> entries;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    if (!leaves[p].is_alias_of(parameters[p].value)) {
      entries.push_back(gather_entry(parameters[p], plan, leaves[p]));
    }
  }
  if (!entries.empty()) {
    run_all<GatherEntry>(entries, parameters.front().value.device());
  }
}

at::Tensor take(const at::Tensor& x, const PlacedSet& set) {
  const at::Tensor from = with_channels_side_by_side(x);
  const at::Tensor to = empty_with_channels(x, set.set.size());
  const std::array<TakeEntry, 1> entry{{{.from = from.const_data_ptr(),
                                         .to = to.mutable_data_ptr(),
                                         .channels = kept_of(set),
                                         .scale = scale_of(set),
                                         .all_channels = static_cast<std::int32_t>(x.size(1)),
                                         .pixels = x.numel() / x.size(1),
                                         .type = number_of(x),
                                         .packed = is_packed(to, set.set.size())}}};
  require(entry[0].type != Number::fp16, "activations are float or bfloat16");
  run_all<TakeEntry>(entry, x.device());
  return to;
}

at::Tensor give_back(const at::Tensor& taken, const at::Tensor& passed, const PlacedSet& set,
                     const at::Tensor& gate) {
  const at::Tensor from = with_channels_side_by_side(taken);
  const at::Tensor beside = passed.defined() ? with_channels_side_by_side(passed) : passed;
  const at::Tensor to = empty_with_channels(taken, set.set.channels);
  const at::Tensor beside_gate = gate.defined() ? with_channels_side_by_side(gate) : gate;
  const auto may_be_packed = [&](const at::Tensor& tensor) {
    return !tensor.defined() || is_packed(tensor, set.set.channels);
  };
  const bool packed = may_be_packed(to) && may_be_packed(beside) && may_be_packed(beside_gate);
  const std::array<GiveEntry, 1> entry{
      {{.taken = from.const_data_ptr(),
        .passed = beside.defined() ? beside.const_data_ptr() : nullptr,
        .gate = beside_gate.defined() ? beside_gate.const_data_ptr() : nullptr,
        .to = to.mutable_data_ptr(),
        .channels = kept_of(set),
        .scale = scale_of(set),
        .all_channels = static_cast<std::int32_t>(set.set.channels),
        .pixels = taken.numel() / set.set.size(),
        .type = number_of(taken),
        .packed = packed}}};
  require(entry[0].type != Number::fp16, "activations are float or bfloat16");
  run_all<GiveEntry>(entry, taken.device());
  return to;
}

std::pair<at::Tensor, at::Tensor> sum_relu_and_take(const at::Tensor& branch, const at::Tensor& skip,
                                                    const PlacedSet* set) {
  const at::Tensor a = with_channels_side_by_side(branch);
  const at::Tensor b = with_channels_side_by_side(skip);
  const std::int64_t channels = a.size(1);
  const at::Tensor sum = empty_with_channels(a, channels);
  const at::Tensor taken = set != nullptr ? empty_with_channels(a, set->set.size()) : at::Tensor();
  const std::array<SumEntry, 1> entry{
      {{.branch = a.const_data_ptr(),
        .skip = b.const_data_ptr(),
        .sum = sum.mutable_data_ptr(),
        .taken = set != nullptr ? taken.mutable_data_ptr() : nullptr,
        .channels = set != nullptr ? kept_of(*set) : Kept{},
        .scale = set != nullptr ? scale_of(*set) : nullptr,
        .all_channels = static_cast<std::int32_t>(channels),
        .pixels = a.numel() / channels,
        .type = number_of(a),
        .packed = is_packed(a, channels) && is_packed(b, channels) && is_packed(sum, channels)}}};
  require(entry[0].type != Number::fp16, "activations are float or bfloat16");
  run_all<SumEntry>(entry, a.device());
  return {sum, taken};
}

void keep_largest(const at::Tensor& norms, std::span<const std::int64_t> channels,
                  std::span<const std::int64_t> kept, const at::Tensor& indices) {
  const at::Tensor chosen = at::empty(norms.sizes(), norms.options().dtype(at::kInt));
  std::vector<RankEntry> ranks;
  std::vector<ListEntry> lists;
  std::int64_t channel = 0;
  std::int64_t place = 0;
  for (std::size_t site = 0; site < channels.size(); ++site) {
    ranks.push_back({.norms = norms.const_data_ptr<float>() + channel,
                     .chosen = chosen.mutable_data_ptr<std::int32_t>() + channel,
                     .channels = static_cast<std::int32_t>(channels[site]),
                     .kept = static_cast<std::int32_t>(kept[site])});
    lists.push_back({.chosen = ranks.back().chosen,
                     .indices = indices.mutable_data_ptr<std::int64_t>() + place,
                     .channels = ranks.back().channels,
                     .kept = ranks.back().kept});
    channel += channels[site];
    place += kept[site];
  }
  require(channel == norms.numel() && place == indices.numel(), "norms or indices of other sites");
  run_all<RankEntry>(ranks, norms.device());
  run_all<ListEntry>(lists, norms.device());
}

std::unique_ptr<WeightPasses> make_weight_passes(std::span<const SlicedParameter> parameters,
                                                 std::span<const at::Tensor> momentum) {
  return std::make_unique<KernelPasses>(parameters, momentum);
}

}  // namespace slicereduce::kernels
