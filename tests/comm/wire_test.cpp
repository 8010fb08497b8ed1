#include "comm/wire.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/support/expect_error.hpp"

namespace slicereduce {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// A 2-byte format, by its definition.
struct Format {
  int mantissa_bits;
  int smallest_exponent;  ///< of a normal number 1.m * 2^e
  int largest_exponent;
};

Format format_of(WireType type) {
  return type == WireType::bf16 ? Format{7, -126, 127} : Format{10, -14, 15};
}

/// The oracle: slow, in double, which holds all numbers and midpoints of the formats exactly.
double value_of(std::uint16_t bits, WireType type) {
  const Format format = format_of(type);
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const int biased = (bits & 0x7fff) >> format.mantissa_bits;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (biased == format.largest_exponent - format.smallest_exponent + 2) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  const double fraction = std::ldexp(mantissa, -format.mantissa_bits);
  return sign * (biased == 0 ? std::ldexp(fraction, format.smallest_exponent)
                             : std::ldexp(1 + fraction, format.smallest_exponent + biased - 1));
}

/// Round to nearest, ties to even; magnitudes past the largest number's rounding range are infinite.
double rounded(double value, WireType type) {
  if (!std::isfinite(value) || value == 0) {
    return value;
  }
  const Format format = format_of(type);
  const int exponent = std::max(std::ilogb(value), format.smallest_exponent);
  const double unit = std::ldexp(1, exponent - format.mantissa_bits);
  const double nearest = std::nearbyint(value / unit) * unit;
  const double overflow = std::ldexp(1, format.largest_exponent + 1);
  return std::fabs(nearest) >= overflow ? std::copysign(std::numeric_limits<double>::infinity(), value)
                                        : nearest;
}

std::vector<std::uint16_t> all_patterns() {
  std::vector<std::uint16_t> patterns(65536);
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    patterns[i] = static_cast<std::uint16_t>(i);
  }
  return patterns;
}

std::vector<float> decoded(const std::vector<std::uint16_t>& patterns, WireType type) {
  std::vector<float> values(patterns.size());
  decode(std::as_bytes(std::span(patterns)), type, values);
  return values;
}

std::vector<std::uint16_t> encoded(const std::vector<float>& values, float scale, WireType type) {
  std::vector<std::uint16_t> patterns(values.size());
  encode(values, scale, std::as_writable_bytes(std::span(patterns)), type);
  return patterns;
}

/// The same number with the same sign, or both NaN.
void expect_same(double actual, double expected, double input) {
  if (std::isnan(expected)) {
    ASSERT_TRUE(std::isnan(actual)) << "from " << input;
    return;
  }
  ASSERT_EQ(actual, expected) << "from " << input;
  ASSERT_EQ(std::signbit(actual), std::signbit(expected)) << "from " << input;
}

/// Floats of all magnitudes: random bits, and the neighbourhood of every number and midpoint of `type`.
std::vector<float> hard_floats(WireType type) {
  std::vector<float> values = {0.0F,
                               -0.0F,
                               kInf,
                               -kInf,
                               kNan,
                               -kNan,
                               65504,
                               65519.996F,
                               65520,
                               -65520,
                               std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::denorm_min(),
                               std::numeric_limits<float>::min(),
                               std::bit_cast<float>(0x7f80'0001U),
                               std::bit_cast<float>(0xffff'ffffU),
                               std::bit_cast<float>(0x7f7f'ffffU)};
  for (const float value : decoded(all_patterns(), type)) {
    if (std::isfinite(value)) {
      const auto bits = std::bit_cast<std::uint32_t>(value);
      const std::uint32_t half_step = type == WireType::bf16 ? 0x8000 : 0x1000;
      for (const std::uint32_t near :
           {bits, bits + 1, bits + half_step - 1, bits + half_step, bits + half_step + 1}) {
        values.push_back(std::bit_cast<float>(near));
      }
    }
  }
  std::mt19937 random(7);
  for (int i = 0; i < 300'000; ++i) {
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
  }
  // fp16's subnormal range and its midpoints, which random bits seldom meet.
  for (int i = 0; i < 8192; ++i) {
    values.push_back(static_cast<float>(i) * 0x1p-26F);
  }
  return values;
}

class TwoByteWire : public ::testing::TestWithParam<WireType> {};

TEST_P(TwoByteWire, DecodesEveryPatternExactly) {
  const auto values = decoded(all_patterns(), GetParam());
  for (std::size_t i = 0; i < values.size(); ++i) {
    expect_same(values[i], value_of(static_cast<std::uint16_t>(i), GetParam()), static_cast<double>(i));
  }
}

TEST_P(TwoByteWire, EncodingInvertsDecoding) {
  const auto values = decoded(all_patterns(), GetParam());
  const auto again = encoded(values, 1, GetParam());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isnan(values[i])) {
      ASSERT_EQ(again[i], i);
    }
  }
}

TEST_P(TwoByteWire, EncodingRoundsToNearestEven) {
  const auto values = hard_floats(GetParam());
  const auto patterns = encoded(values, 1, GetParam());
  for (std::size_t i = 0; i < values.size(); ++i) {
    expect_same(value_of(patterns[i], GetParam()), rounded(values[i], GetParam()), values[i]);
  }
}

TEST_P(TwoByteWire, EncodingRoundsTheProductOnce) {
  const auto values = hard_floats(GetParam());
  const float scale = 1.0F / 3;
  const auto patterns = encoded(values, scale, GetParam());
  for (std::size_t i = 0; i < values.size(); ++i) {
    expect_same(value_of(patterns[i], GetParam()), rounded(values[i] * scale, GetParam()), values[i]);
  }
}

TEST_P(TwoByteWire, EveryNanIsTheSameQuietOne) {
  const auto patterns = encoded({kNan, -kNan, std::bit_cast<float>(0x7f80'0001U)}, 1, GetParam());
  EXPECT_EQ(patterns, std::vector<std::uint16_t>(3, GetParam() == WireType::bf16 ? 0x7fc0 : 0x7e00));
}

TEST_P(TwoByteWire, SumsAreRoundedOnce) {
  const auto left = all_patterns();
  auto right = left;
  std::shuffle(right.begin(), right.end(), std::mt19937(3));
  auto sum = left;
  add_into(std::as_writable_bytes(std::span(sum)), std::as_bytes(std::span(right)), GetParam());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const auto a = static_cast<float>(value_of(left[i], GetParam()));
    const auto b = static_cast<float>(value_of(right[i], GetParam()));
    expect_same(value_of(sum[i], GetParam()), rounded(a + b, GetParam()), a);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, TwoByteWire, ::testing::Values(WireType::bf16, WireType::fp16),
                         [](const auto& instance) { return std::string(wire_name(instance.param)); });

TEST(Wire, Fp32KeepsBitsAtScaleOne) {
  const auto values = hard_floats(WireType::fp16);
  std::vector<std::byte> bytes(values.size() * 4);
  encode(values, 1, bytes, WireType::fp32);
  std::vector<float> again(values.size());
  decode(bytes, WireType::fp32, again);
  for (std::size_t i = 0; i < values.size(); ++i) {
    expect_same(again[i], values[i], values[i]);
  }
}

TEST(Wire, Fp32ScalesAndAdds) {
  const std::vector<float> values = {1, -2, 0x1p-149F, kInf, 3e38F};
  std::vector<float> out(values.size());
  encode(values, 0.5F, std::as_writable_bytes(std::span(out)), WireType::fp32);
  EXPECT_EQ(out, (std::vector<float>{0.5F, -1, 0, kInf, 1.5e38F}));
  add_into(std::as_writable_bytes(std::span(out)), std::as_bytes(std::span(values)), WireType::fp32);
  EXPECT_EQ(out, (std::vector<float>{1.5F, -3, 0x1p-149F, kInf, kInf}));
}

TEST(Wire, Bf16InputIsEncodedAsItsFloatsAre) {
  const auto patterns = all_patterns();
  const auto values = decoded(patterns, WireType::bf16);
  for (const WireType type : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    std::vector<std::byte> direct(patterns.size() * wire_size(type));
    std::vector<std::byte> by_float(direct.size());
    encode_bf16(std::as_bytes(std::span(patterns)), 0.25F, direct, type);
    encode(values, 0.25F, by_float, type);
    EXPECT_EQ(direct, by_float) << wire_name(type);
  }
}

/// Vector code has a body and a tail, and slots start at any number.
TEST(Wire, EveryLengthAndOffsetGivesTheSameNumbers) {
  std::vector<float> values(150);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i) * 0.37F - 20;
  }
  for (const WireType type : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    const std::size_t size = wire_size(type);
    std::vector<std::byte> whole(values.size() * size);
    encode(values, 1, whole, type);
    for (std::size_t begin = 0; begin < 9; ++begin) {
      for (std::size_t numel = 0; numel <= 140; ++numel) {
        std::vector<std::byte> part(whole.size() + size, std::byte{0xab});
        encode(std::span(values).subspan(begin, numel), 1,
               std::span(part).subspan(begin * size, numel * size), type);
        ASSERT_EQ(std::memcmp(part.data() + begin * size, whole.data() + begin * size, numel * size), 0);
        ASSERT_EQ(part.at((begin + numel) * size), std::byte{0xab}) << "wrote past the end";
      }
    }
  }
}

TEST(Wire, RefusesSizesThatDoNotMatch) {
  std::vector<float> values(3);
  std::vector<std::byte> bytes(8);
  const auto refused = [](auto body) {
    testing::expect_error_from(body, ErrorKind::invariant, "internal error");
  };
  refused([&] { encode(values, 1, bytes, WireType::bf16); });
  refused([&] { encode_bf16(bytes, 1, std::span(bytes).first(6), WireType::bf16); });
  refused([&] { encode_bf16(std::span(bytes).first(5), 1, std::span(bytes).first(4), WireType::bf16); });
  refused([&] { decode(bytes, WireType::fp16, values); });
  refused([&] { add_into(bytes, std::span(bytes).first(6), WireType::fp16); });
  refused([&] { add_into(std::span(bytes).first(6), std::span(bytes).first(6), WireType::fp32); });
}

TEST(Wire, NamesAreParsedBack) {
  for (const WireType type : {WireType::fp32, WireType::bf16, WireType::fp16}) {
    EXPECT_EQ(parse_wire_type(wire_name(type)), type);
  }
  testing::expect_error_from([] { (void)parse_wire_type("int8"); }, ErrorKind::usage,
                             "'int8': expected one of fp32, bf16, fp16 (--wire)");
}

}  // namespace
}  // namespace slicereduce
