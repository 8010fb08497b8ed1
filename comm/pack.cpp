#include "comm/pack.hpp"

#include <span>

namespace slicereduce {

namespace {

void pack_from_host(const at::Tensor& gradient, float scale, const at::Tensor& slot, WireType type) {
  const auto numel = static_cast<std::size_t>(gradient.numel());
  const std::span out(static_cast<std::byte*>(slot.mutable_data_ptr()), numel * wire_size(type));
  if (gradient.scalar_type() == at::kFloat) {
    encode({gradient.const_data_ptr<float>(), numel}, scale, out, type);
  } else {
    const std::span in(gradient.const_data_ptr<at::BFloat16>(), numel);
    encode_bf16(std::as_bytes(in), scale, out, type);
  }
}

}  // namespace

at::ScalarType scalar_type(WireType type) {
  switch (type) {
    case WireType::fp32:
      return at::kFloat;
    case WireType::bf16:
      return at::kBFloat16;
    case WireType::fp16:
      break;
  }
  return at::kHalf;
}

void pack(const at::Tensor& gradient, float scale, const at::Tensor& slot, WireType type) {
  if (gradient.is_cpu()) {
    pack_from_host(gradient, scale, slot, type);
  } else {
    pack_from_device(gradient, scale, slot);
  }
}

void pack_from_device(const at::Tensor& gradient, float scale, const at::Tensor& slot) {
  const at::Tensor in_memory_order = gradient.as_strided({gradient.numel()}, {1});
  slot.copy_(in_memory_order.to(at::kFloat).mul(scale).to(slot.scalar_type()));
}

}  // namespace slicereduce
