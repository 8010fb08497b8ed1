#include "sampling/take_channels.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/add.h>
#include <ATen/ops/threshold_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/processors.hpp"
#include "sampling/device_slices.hpp"
#include "sampling/indexed.hpp"
#include "sampling/memory_order.hpp"
#include "sampling/rectify.hpp"

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
void gather_pixel(const T* source, const ChannelSet& set, T* target) {
  const std::int64_t k = set.size();
  const std::int32_t* kept = set.kept.data();
  const float* scale = set.scale.empty() ? nullptr : set.scale.data();
  for (std::int64_t j = 0; j < k; ++j) {
    target[j] =
        scale == nullptr ? source[kept[j]] : static_cast<T>(static_cast<float>(source[kept[j]]) * scale[j]);
  }
}

template <typename T>
void gather_pixels(const at::Tensor& x, const ChannelSet& set, const at::Tensor& out) {
  const T* from = x.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  for_each_pixel(x, [&](std::int64_t pixel) {
    gather_pixel(from + pixel * set.channels, set, to + pixel * set.size());
  });
}

template <typename T>
SLICEREDUCE_FOR_EACH_X86 void sum_and_rectify(const T* __restrict branch, const T* __restrict skip,
                                              T* __restrict out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = rectified(static_cast<T>(static_cast<float>(branch[i]) + static_cast<float>(skip[i])));
  }
}

/// The gradient of ReLU: what it gave tells what it got.
template <typename T>
SLICEREDUCE_FOR_EACH_X86 void close_gate(const T* __restrict gate, T* __restrict gradient,
                                         std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    gradient[i] = gated(gradient[i], gate[i]);
  }
}

template <typename T>
void sum_pixels(const at::Tensor& branch, const at::Tensor& skip, const ChannelSet* set,
                const at::Tensor& out, const at::Tensor& taken) {
  const std::int64_t channels = out.size(1);
  for_each_pixel(out, [&](std::int64_t pixel) {
    T* sum = out.mutable_data_ptr<T>() + pixel * channels;
    sum_and_rectify(branch.const_data_ptr<T>() + pixel * channels,
                    skip.const_data_ptr<T>() + pixel * channels, sum, channels);
    if (set != nullptr) {
      gather_pixel(sum, *set, taken.mutable_data_ptr<T>() + pixel * set->size());
    }
  });
}

/// out = passed (or zero) + scatter(taken * scale), of what `gate`, if any, lets through
template <typename T>
void scatter_pixels(const at::Tensor& taken, const T* passed, const T* gate, const ChannelSet& set,
                    const at::Tensor& out) {
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
    if (gate != nullptr) {
      close_gate(gate + pixel * set.channels, target, set.channels);
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

/// What `gate`, if any, lets through of a gradient that may be none.
at::Tensor closed(const at::Tensor& gradient, const at::Tensor& gate) {
  return gate.defined() && gradient.defined() ? at::threshold_backward(gradient, gate, 0) : gradient;
}

/// `gate`: what ReLU gave, where the gradient goes on through it.
at::Tensor scatter(const at::Tensor& taken, const at::Tensor& passed, const at::Tensor& gate,
                   const PlacedSet& placed) {
  const ChannelSet& set = placed.set;
  if (!taken.is_cpu()) {
    return kernels::serve(taken.device()) ? kernels::give_back(taken, passed, placed, gate)
                                          : closed(indexed::give_back(taken, passed, placed), gate);
  }
  const at::Tensor source = with_channels_side_by_side(taken);
  const at::Tensor base = passed.defined() ? with_channels_side_by_side(passed) : passed;
  at::Tensor out = empty_with_channels(taken, set.channels);
  const auto scatter_as = [&]<typename T>(T /*unused*/) {
    const auto data = [](const at::Tensor& tensor) {
      return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
    };
    scatter_pixels<T>(source, data(base), data(gate), set, out);
  };
  taken.scalar_type() == at::kBFloat16 ? scatter_as(at::BFloat16()) : scatter_as(0.0F);
  return out;
}

/// {sum, taken}; nothing taken where there is no set.
std::pair<at::Tensor, at::Tensor> sum_and_gather(const at::Tensor& branch, const at::Tensor& skip,
                                                 const PlacedSet* placed) {
  const at::Tensor b = with_channels_side_by_side(branch);
  const at::Tensor s = with_channels_side_by_side(skip);
  if (!b.is_cpu() && kernels::serve(b.device())) {
    return kernels::sum_relu_and_take(b, s, placed);
  }
  if (!b.is_cpu()) {
    const at::Tensor sum = at::add(b, s).relu_();
    return {sum, placed != nullptr ? indexed::take(sum, *placed) : at::Tensor()};
  }
  const at::Tensor sum = empty_with_channels(b, b.size(1));
  const at::Tensor taken = placed != nullptr ? empty_with_channels(b, placed->set.size()) : at::Tensor();
  const ChannelSet* set = placed != nullptr ? &placed->set : nullptr;
  b.scalar_type() == at::kBFloat16 ? sum_pixels<at::BFloat16>(b, s, set, sum, taken)
                                   : sum_pixels<float>(b, s, set, sum, taken);
  return {sum, taken};
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
    return {scatter(gradients[0], {}, {}, *saved_set(context)), {}};
  }
};

struct TakeAndPass : torch::autograd::Function<TakeAndPass> {
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const std::shared_ptr<const PlacedSet>& set) {
    save_set(context, set);
    return {gather(x, *set), x};
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {scatter(gradients[0], gradients[1], {}, *saved_set(context)), {}};
  }
};

struct SumReluAndTake : torch::autograd::Function<SumReluAndTake> {
  static variable_list forward(AutogradContext* context, const at::Tensor& branch, const at::Tensor& skip,
                               const std::shared_ptr<const PlacedSet>& set) {
    save_set(context, set);
    context->set_materialize_grads(false);  // of what a projection leaves unused
    auto [sum, taken] = sum_and_gather(branch, skip, set.get());
    context->save_for_backward({sum});
    return set == nullptr ? variable_list{sum} : variable_list{sum, taken};
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const at::Tensor gate = context->get_saved_variables()[0];
    const auto set = saved_set(context);
    const bool is_taken = set != nullptr && gradients[1].defined();
    const at::Tensor gradient =
        is_taken ? scatter(gradients[1], gradients[0], gate, *set) : closed(gradients[0], gate);
    return {gradient, gradient, {}};
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

std::pair<at::Tensor, at::Tensor> sum_relu_and_take(const at::Tensor& branch, const at::Tensor& skip,
                                                    const std::shared_ptr<const PlacedSet>& set) {
  const bool takes = set != nullptr && !set->set.full();
  const variable_list outputs = SumReluAndTake::apply(branch, skip, takes ? set : nullptr);
  return {outputs.front(), outputs.back()};
}

}  // namespace slicereduce
