#include "core/text.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace slicereduce {
namespace {

const std::vector<std::string> kOptions{"--sample-ratio", "--sampler", "--seed", "--momentum"};

TEST(Nearest, CountsLettersThatAreMissingWrongOrSwapped) {
  EXPECT_EQ(nearest("--sampl-ratio", kOptions), "--sample-ratio");
  EXPECT_EQ(nearest("--smaple-ratio", kOptions), "--sample-ratio");
  EXPECT_EQ(nearest("--samplre", kOptions), "--sampler");
  EXPECT_EQ(nearest("--sede", kOptions), "--seed");
  EXPECT_EQ(nearest("--seed", kOptions), "--seed");
}

TEST(Nearest, IsNothingWhereMostIsWrong) {
  EXPECT_EQ(nearest("--epochs", kOptions), "");
  EXPECT_EQ(nearest("x", kOptions), "");
  EXPECT_EQ(nearest("", kOptions), "");
  EXPECT_EQ(nearest("--seed", {}), "");
}

TEST(Printable, IsShortAndWithoutControlCharacters) {
  EXPECT_EQ(printable("a\x1b[31mb\n"), "a?[31mb?");
  std::string many;
  many.resize(101, 'x');
  const std::string shown = printable(many);
  EXPECT_EQ(shown.size(), 103U);
  EXPECT_TRUE(shown.ends_with("x..."));
}

}  // namespace
}  // namespace slicereduce
