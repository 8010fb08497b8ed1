#include "core/digest.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace slicereduce {
namespace {

TEST(Digest, PiecesGiveTheDigestOfTheWhole) {
  const std::vector<std::uint32_t> values{1, 2, 3, 4, 5};
  const std::span<const std::uint32_t> all(values);
  Digest pieces;
  pieces.add_values(all.first(2)).add_values(all.subspan(2));
  EXPECT_EQ(pieces.value(), digest_of(std::as_bytes(all)));
}

TEST(Digest, OneFlippedBitChangesIt) {
  std::vector<std::byte> bytes(1000, std::byte{7});
  const auto before = digest_of(bytes);
  bytes[617] ^= std::byte{0x10};
  EXPECT_NE(digest_of(bytes), before);
}

TEST(Digest, TextsDoNotRunIntoEachOther) {
  EXPECT_NE(Digest().add_text("ab").add_text("c").value(), Digest().add_text("a").add_text("bc").value());
}

TEST(Digest128, OneFlippedBitChangesBothHalves) {
  std::vector<std::byte> bytes(1000, std::byte{7});
  const Digest128 before = digest128_of(bytes);
  EXPECT_EQ(digest128_of(bytes), before);
  bytes[617] ^= std::byte{0x10};
  EXPECT_NE(digest128_of(bytes).low, before.low);
  EXPECT_NE(digest128_of(bytes).high, before.high);
}

TEST(Digest128, PiecesGiveTheDigestOfTheWhole) {
  const std::vector<std::byte> bytes(1000, std::byte{7});
  const std::span<const std::byte> all(bytes);
  RunningDigest128 pieces;
  pieces.add(all.first(1));
  pieces.add(all.subspan(1, 0));
  pieces.add(all.subspan(1));
  EXPECT_EQ(pieces.value(), digest128_of(all));
}

TEST(Digest, HexHasSixteenDigits) {
  EXPECT_EQ(to_hex(0), "0000000000000000");
  EXPECT_EQ(to_hex(0x0123456789abcdefULL), "0123456789abcdef");
}

}  // namespace
}  // namespace slicereduce
