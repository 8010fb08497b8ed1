#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace slicereduce {

/// How a number travels between ranks. Numbers on the wire have the machine's byte order.
enum class WireType : std::uint8_t {
  fp32,
  bf16,  ///< the upper half of an fp32: its range, 8 bits of precision
  fp16,  ///< IEEE 754 binary16: 11 bits of precision, overflows beyond 65504
};

/// Bytes of one number.
[[nodiscard]] constexpr std::size_t wire_size(WireType type) { return type == WireType::fp32 ? 4 : 2; }

/// "fp32", "bf16" or "fp16".
[[nodiscard]] std::string_view wire_name(WireType type);

/// The inverse of wire_name. Throws Error(usage) naming `option`.
[[nodiscard]] WireType parse_wire_type(std::string_view name, std::string_view option = "--wire");

/// out[i] = in[i] * scale, rounded to nearest even once after the product in fp32. Infinities stay
/// infinities, fp16 overflows to them; a NaN becomes the one quiet NaN of a 2-byte type. The same bits on
/// every processor. `out` needs no alignment. Throws Error(invariant) unless out.size() is in.size() *
/// wire_size(type).
void encode(std::span<const float> in, float scale, std::span<std::byte> out, WireType type);

/// The same, from numbers of bf16 (which need no alignment).
void encode_bf16(std::span<const std::byte> in, float scale, std::span<std::byte> out, WireType type);

/// out[i] = in[i], exactly. Throws Error(invariant) unless in.size() is out.size() * wire_size(type).
void decode(std::span<const std::byte> in, WireType type, std::span<float> out);

/// inout[i] += in[i]: one sum in fp32, rounded once, as encode() rounds. The two must not overlap.
/// Throws Error(invariant) where the sizes differ.
void add_into(std::span<std::byte> inout, std::span<const std::byte> in, WireType type);

}  // namespace slicereduce
