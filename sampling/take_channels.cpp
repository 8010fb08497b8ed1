#include "sampling/take_channels.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "core/error.hpp"
#include "sampling/device_slices.hpp"
#include "sampling/indexed.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <typename Visit>
void for_each_pixel(const at::Tensor& x, const Visit& visit) {
  const std::int64_t pixels = x.numel() / x.size(1);
  const std::int64_t grain = std::max<std::int64_t>(1, at::internal::GRAIN_SIZE / x.size(1));
  at::parallel_for(0, pixels, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t pixel = begin; pixel < end; ++pixel) {
      visit(pixel);
    }
  });
}

template <typename T>
void gather_pixels(const at::Tensor& x, const ChannelSet& set, const at::Tensor& out) {
  const T* from = x.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  const std::int64_t k = set.size();
  const std::int32_t* kept = set.kept.data();
  const float* scale = set.scale.empty() ? nullptr : set.scale.data();
  for_each_pixel(x, [&](std::int64_t pixel) {
    const T* source = from + pixel * set.channels;
    T* target = to + pixel * k;
    for (std::int64_t j = 0; j < k; ++j) {
      target[j] =
          scale == nullptr ? source[kept[j]] : static_cast<T>(static_cast<float>(source[kept[j]]) * scale[j]);
    }
  });
}

/// out = passed (or zero) + scatter(taken * scale)
template <typename T>
void scatter_pixels(const at::Tensor& taken, const T* passed, const ChannelSet& set, const at::Tensor& out) {
  const T* from = taken.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  const std::int64_t k = set.size();
  const std::int32_t* kept = set.kept.data();
  const float* scale = set.scale.empty() ? nullptr : set.scale.data();
  for_each_pixel(out, [&](std::int64_t pixel) {
    const T* source = from + pixel * k;
    T* target = to + pixel * set.channels;
    if (passed != nullptr) {
      std::copy_n(passed + pixel * set.channels, set.channels, target);
    } else {
      std::fill_n(target, set.channels, T(0));
    }
    for (std::int64_t j = 0; j < k; ++j) {
      const float factor = scale == nullptr ? 1.0F : scale[j];
      target[kept[j]] =
          static_cast<T>(static_cast<float>(target[kept[j]]) + static_cast<float>(source[j]) * factor);
    }
  });
}

at::Tensor gather(const at::Tensor& x, const PlacedSet& placed) {
  const ChannelSet& set = placed.set;
  require(x.size(1) == set.channels, "activations have another number of channels than their set");
  if (!x.is_cpu()) {
    return kernels::serve(x.device()) ? kernels::take(x, placed) : indexed::take(x, placed);
  }
  const at::Tensor source = with_channels_side_by_side(x);
  at::Tensor out = empty_with_channels(x, set.size());
  if (x.scalar_type() == at::kBFloat16) {
    gather_pixels<at::BFloat16>(source, set, out);
  } else {
    gather_pixels<float>(source, set, out);
  }
  return out;
}

at::Tensor scatter(const at::Tensor& taken, const at::Tensor& passed, const PlacedSet& placed) {
  const ChannelSet& set = placed.set;
  if (!taken.is_cpu()) {
    return kernels::serve(taken.device()) ? kernels::give_back(taken, passed, placed)
                                          : indexed::give_back(taken, passed, placed);
  }
  const at::Tensor source = with_channels_side_by_side(taken);
  const at::Tensor base = passed.defined() ? with_channels_side_by_side(passed) : passed;
  at::Tensor out = empty_with_channels(taken, set.channels);
  if (taken.scalar_type() == at::kBFloat16) {
    scatter_pixels<at::BFloat16>(source, base.defined() ? base.const_data_ptr<at::BFloat16>() : nullptr, set,
                                 out);
  } else {
    scatter_pixels<float>(source, base.defined() ? base.const_data_ptr<float>() : nullptr, set, out);
  }
  return out;
}

/// Keeps a channel set alive from forward to backward: autograd saves only its own kinds of values.
struct SetHolder : torch::CustomClassHolder {
  explicit SetHolder(std::shared_ptr<const PlacedSet> kept) : set(std::move(kept)) {}
  std::shared_ptr<const PlacedSet> set;
};

std::shared_ptr<const PlacedSet> saved_set(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<SetHolder>(context->saved_data["set"].toCapsule())->set;
}

void save_set(AutogradContext* context, const std::shared_ptr<const PlacedSet>& set) {
  context->saved_data["set"] = at::IValue::make_capsule(c10::make_intrusive<SetHolder>(set));
}

struct TakeChannels : torch::autograd::Function<TakeChannels> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const std::shared_ptr<const PlacedSet>& set) {
    save_set(context, set);
    return gather(x, *set);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {scatter(gradients[0], {}, *saved_set(context)), {}};
  }
};

struct TakeAndPass : torch::autograd::Function<TakeAndPass> {
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const std::shared_ptr<const PlacedSet>& set) {
    save_set(context, set);
    return {gather(x, *set), x};
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {scatter(gradients[0], gradients[1], *saved_set(context)), {}};
  }
};

}  // namespace

at::Tensor take_channels(const at::Tensor& x, const std::shared_ptr<const PlacedSet>& set) {
  return set->set.full() ? x : TakeChannels::apply(x, set);
}

std::pair<at::Tensor, at::Tensor> take_and_pass(const at::Tensor& x,
                                                const std::shared_ptr<const PlacedSet>& set) {
  if (set->set.full()) {
    return {x, x};
  }
  const variable_list outputs = TakeAndPass::apply(x, set);
  return {outputs[0], outputs[1]};
}

}  // namespace slicereduce
