#include "comm/wire.hpp"

#include <bit>
#include <cstring>
#include <string>

#include "core/choice.hpp"
#include "core/error.hpp"
#include "core/processors.hpp"
#include "core/text.hpp"

// The processors' own conversions are left alone: AVX512-BF16's flushes denormals, and F16C's keeps NaN
// payloads that the others don't.

namespace slicereduce {
namespace {

constexpr std::uint32_t kMagnitude = 0x7fff'ffff;
constexpr std::uint32_t kInfinity = 0x7f80'0000;

/// Both sides are computed. As `?:` the compiler makes branches of it where a side has floating-point
/// arithmetic, which might trap, and no vectors: 21 ms instead of 4 for 5 million sums of fp16.
[[gnu::always_inline]] inline std::uint32_t select(bool condition, std::uint32_t yes, std::uint32_t no) {
  const std::uint32_t mask = 0U - static_cast<std::uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

struct Fp32 {
  using Bits = std::uint32_t;
  [[gnu::always_inline]] static float widen(Bits bits) { return std::bit_cast<float>(bits); }
  [[gnu::always_inline]] static Bits narrow(float value) { return std::bit_cast<Bits>(value); }
};

struct Bf16 {
  using Bits = std::uint16_t;
  [[gnu::always_inline]] static float widen(Bits bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
  [[gnu::always_inline]] static Bits narrow(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return static_cast<Bits>((bits & kMagnitude) > kInfinity ? 0x7fc0 : rounded);
  }
};

struct Fp16 {
  using Bits = std::uint16_t;
  /// The difference of the exponents' biases, 127 - 15, in an fp32's place.
  static constexpr std::uint32_t kRebias = 112U << 23;

  [[gnu::always_inline]] static float widen(Bits bits) {
    const std::uint32_t magnitude = bits & 0x7fffU;
    const std::uint32_t normal = (magnitude << 13) + kRebias;
    const std::uint32_t special = (magnitude << 13) + 2 * kRebias;
    // Below the smallest normal number, the bits count units of 2^-24.
    const auto subnormal =
        std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F);
    const std::uint32_t finite = select(magnitude < 0x400, subnormal, normal);
    const std::uint32_t sign = (bits & 0x8000U) << 16;
    return std::bit_cast<float>(sign | select(magnitude >= 0x7c00, special, finite));
  }

  [[gnu::always_inline]] static Bits narrow(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & kMagnitude;
    const std::uint32_t rounded = (magnitude + 0xfff + ((magnitude >> 13) & 1) - kRebias) >> 13;
    const std::uint32_t normal = rounded > 0x7c00 ? 0x7c00 : rounded;
    // Added to 0.5, whose last bit is 2^-24, a small number is rounded by the adder to units of 2^-24.
    const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) -
                                    std::bit_cast<std::uint32_t>(0.5F);
    const std::uint32_t finite = select(magnitude < 0x3880'0000, subnormal, normal);
    const std::uint32_t sign = (bits >> 16) & 0x8000;
    return static_cast<Bits>(select(magnitude > kInfinity, 0x7e00, sign | finite));
  }
};

// memcpy, since slots begin anywhere in a bucket and other code sees the same memory as its own types.
template <typename Type>
[[gnu::always_inline]] inline float load(const std::byte* from, std::size_t i) {
  typename Type::Bits bits;
  std::memcpy(&bits, from + i * sizeof(bits), sizeof(bits));
  return Type::widen(bits);
}

template <typename Type>
[[gnu::always_inline]] inline void store(std::byte* to, std::size_t i, float value) {
  const typename Type::Bits bits = Type::narrow(value);
  std::memcpy(to + i * sizeof(bits), &bits, sizeof(bits));
}

template <typename From, typename To>
[[gnu::always_inline]] inline void scale_loop(const std::byte* __restrict in, float scale,
                                              std::byte* __restrict out, std::size_t numel) {
  for (std::size_t i = 0; i < numel; ++i) {
    store<To>(out, i, load<From>(in, i) * scale);
  }
}

template <typename From>
[[gnu::always_inline]] inline void widen_loop(const std::byte* __restrict in, std::byte* __restrict out,
                                              std::size_t numel) {
  for (std::size_t i = 0; i < numel; ++i) {
    store<Fp32>(out, i, load<From>(in, i));
  }
}

template <typename Type>
[[gnu::always_inline]] inline void add_loop(std::byte* __restrict inout, const std::byte* __restrict in,
                                            std::size_t numel) {
  for (std::size_t i = 0; i < numel; ++i) {
    store<Type>(inout, i, load<Type>(inout, i) + load<Type>(in, i));
  }
}

// Compilers clone functions, not instances of templates: one line for each.
using Scale = void(const std::byte*, float, std::byte*, std::size_t);
SLICEREDUCE_FOR_EACH_X86 void fp32_to_fp32(const std::byte* in, float scale, std::byte* out, std::size_t n) {
  scale_loop<Fp32, Fp32>(in, scale, out, n);
}
SLICEREDUCE_FOR_EACH_X86 void fp32_to_bf16(const std::byte* in, float scale, std::byte* out, std::size_t n) {
  scale_loop<Fp32, Bf16>(in, scale, out, n);
}
SLICEREDUCE_FOR_EACH_X86 void fp32_to_fp16(const std::byte* in, float scale, std::byte* out, std::size_t n) {
  scale_loop<Fp32, Fp16>(in, scale, out, n);
}
SLICEREDUCE_FOR_EACH_X86 void bf16_to_fp32(const std::byte* in, float scale, std::byte* out, std::size_t n) {
  scale_loop<Bf16, Fp32>(in, scale, out, n);
}
SLICEREDUCE_FOR_EACH_X86 void bf16_to_bf16(const std::byte* in, float scale, std::byte* out, std::size_t n) {
  scale_loop<Bf16, Bf16>(in, scale, out, n);
}
SLICEREDUCE_FOR_EACH_X86 void bf16_to_fp16(const std::byte* in, float scale, std::byte* out, std::size_t n) {
  scale_loop<Bf16, Fp16>(in, scale, out, n);
}
SLICEREDUCE_FOR_EACH_X86 void widen_bf16(const std::byte* in, std::byte* out, std::size_t n) {
  widen_loop<Bf16>(in, out, n);
}
SLICEREDUCE_FOR_EACH_X86 void widen_fp16(const std::byte* in, std::byte* out, std::size_t n) {
  widen_loop<Fp16>(in, out, n);
}
SLICEREDUCE_FOR_EACH_X86 void add_fp32(std::byte* inout, const std::byte* in, std::size_t n) {
  add_loop<Fp32>(inout, in, n);
}
SLICEREDUCE_FOR_EACH_X86 void add_bf16(std::byte* inout, const std::byte* in, std::size_t n) {
  add_loop<Bf16>(inout, in, n);
}
SLICEREDUCE_FOR_EACH_X86 void add_fp16(std::byte* inout, const std::byte* in, std::size_t n) {
  add_loop<Fp16>(inout, in, n);
}

Scale& pick(WireType type, Scale& to_fp32, Scale& to_bf16, Scale& to_fp16) {
  switch (type) {
    case WireType::fp32:
      return to_fp32;
    case WireType::bf16:
      return to_bf16;
    case WireType::fp16:
      break;
  }
  return to_fp16;
}

}  // namespace

std::string_view wire_name(WireType type) {
  switch (type) {
    case WireType::fp32:
      return "fp32";
    case WireType::bf16:
      return "bf16";
    case WireType::fp16:
      break;
  }
  return "fp16";
}

WireType parse_wire_type(std::string_view name, std::string_view option) {
  return parse_choice<WireType>(
      name, option, {{"fp32", WireType::fp32}, {"bf16", WireType::bf16}, {"fp16", WireType::fp16}});
}

void encode(std::span<const float> in, float scale, std::span<std::byte> out, WireType type) {
  require(out.size() == in.size() * wire_size(type), "encode: the output has another size than the input");
  pick(type, fp32_to_fp32, fp32_to_bf16, fp32_to_fp16)(std::as_bytes(in).data(), scale, out.data(),
                                                       in.size());
}

void encode_bf16(std::span<const std::byte> in, float scale, std::span<std::byte> out, WireType type) {
  const std::size_t numel = in.size() / wire_size(WireType::bf16);
  require(in.size() == numel * wire_size(WireType::bf16), "encode_bf16: half a number in the input");
  require(out.size() == numel * wire_size(type), "encode_bf16: the output has another size than the input");
  pick(type, bf16_to_fp32, bf16_to_bf16, bf16_to_fp16)(in.data(), scale, out.data(), numel);
}

void decode(std::span<const std::byte> in, WireType type, std::span<float> out) {
  require(in.size() == out.size() * wire_size(type), "decode: the output has another size than the input");
  std::byte* to = std::as_writable_bytes(out).data();
  switch (type) {
    case WireType::fp32:
      if (!in.empty()) {
        std::memcpy(to, in.data(), in.size());
      }
      return;
    case WireType::bf16:
      return widen_bf16(in.data(), to, out.size());
    case WireType::fp16:
      return widen_fp16(in.data(), to, out.size());
  }
}

void add_into(std::span<std::byte> inout, std::span<const std::byte> in, WireType type) {
  require(inout.size() == in.size(), "add_into: the two sides have different sizes");
  require(in.size() % wire_size(type) == 0, "add_into: a part of a number at the end");
  const std::size_t numel = in.size() / wire_size(type);
  switch (type) {
    case WireType::fp32:
      return add_fp32(inout.data(), in.data(), numel);
    case WireType::bf16:
      return add_bf16(inout.data(), in.data(), numel);
    case WireType::fp16:
      return add_fp16(inout.data(), in.data(), numel);
  }
}

}  // namespace slicereduce
