#include "comm/pack.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/scalar_tensor.h>
#include <c10/core/GradMode.h>

#include <span>

#include "core/error.hpp"
#include "core/text.hpp"

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

at::Tensor as_it_lies(const at::Tensor& gradient) { return gradient.as_strided({gradient.numel()}, {1}); }

void pack(const at::Tensor& gradient, float scale, const at::Tensor& slot, WireType type) {
  if (gradient.is_cpu() && slot.is_cpu()) {
    pack_from_host(gradient, scale, slot, type);
  } else {
    pack_from_device(gradient, scale, slot);
  }
}

void check_gradient(std::size_t slot, const at::Tensor& gradient, std::int64_t numel) {
  const auto refuse = [&](const auto&... why) {
    throw Error(ErrorKind::invariant, concat("gradient of slot ", slot, ": ", why...));
  };
  if (!gradient.defined()) {
    refuse("there is none");
  }
  if (gradient.numel() != numel) {
    refuse(gradient.numel(), " numbers, but begin() was told ", numel);
  }
  if (!gradient.is_non_overlapping_and_dense()) {
    refuse("its memory has gaps or overlaps; make it contiguous first");
  }
  if (gradient.scalar_type() != at::kFloat && gradient.scalar_type() != at::kBFloat16) {
    refuse("expected float or bfloat16, not ", c10::toString(gradient.scalar_type()));
  }
}

void subtract_packed(const at::Tensor& gradient, float scale, WireType type) {
  if (type == WireType::fp32) {
    gradient.zero_();
    return;
  }
  const at::Tensor sent = at::empty({gradient.numel()}, gradient.options().dtype(scalar_type(type)));
  pack(gradient, scale, sent, type);
  as_it_lies(gradient).sub_(sent, 1.0 / static_cast<double>(scale));
}

void pack_from_device(const at::Tensor& gradient, float scale, const at::Tensor& slot) {
  const c10::NoGradGuard no_grad;
  at::Tensor out = slot;
  const at::Tensor factor = at::scalar_tensor(scale);
  if (gradient.device() == slot.device() && gradient.scalar_type() == slot.scalar_type()) {
    at::mul_out(out, as_it_lies(gradient), factor);  // in fp32, rounded once: one pass
  } else {
    out.copy_(as_it_lies(gradient).to(at::kFloat).mul(factor).to(slot.scalar_type()));
  }
}

}  // namespace slicereduce
