#include "launcher/parts.hpp"

#include <gtest/gtest.h>

namespace slicereduce {
namespace {

TEST(EvenParts, CoverAllOnceInTheFewestParts) {
  for (const std::int64_t most : {1, 2, 7, 32}) {
    for (std::int64_t count = 0; count < 100; ++count) {
      const auto parts = even_parts(count, most);
      EXPECT_EQ(static_cast<std::int64_t>(parts.size()), (count + most - 1) / most);
      std::int64_t next = 0;
      for (const Range& part : parts) {
        EXPECT_EQ(part.first, next);
        EXPECT_GE(part.size, count / static_cast<std::int64_t>(parts.size()));
        EXPECT_LE(part.size, most);
        next += part.size;
      }
      EXPECT_EQ(next, count);
    }
  }
}

}  // namespace
}  // namespace slicereduce
