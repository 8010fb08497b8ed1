#include "imagenet/shard_pattern.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace slicereduce {
namespace {

using Names = std::vector<std::string>;

TEST(ShardPattern, RangesKeepTheirDigits) {
  EXPECT_EQ(expand_braces("a-{008..011}.tar"), (Names{"a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"}));
  EXPECT_EQ(expand_braces("{8..10}"), (Names{"8", "9", "10"}));
  EXPECT_EQ(expand_braces("{0000..0146}").size(), 147U);
}

TEST(ShardPattern, ListsAndSeveralBracesMultiply) {
  EXPECT_EQ(expand_braces("{a,b,}.tar"), (Names{"a.tar", "b.tar", ".tar"}));
  EXPECT_EQ(expand_braces("{x,y}/{1..2}"), (Names{"x/1", "x/2", "y/1", "y/2"}));
}

TEST(ShardPattern, WithoutBracesItIsAName) {
  EXPECT_EQ(expand_braces("/data/train.tar"), (Names{"/data/train.tar"}));
  EXPECT_EQ(expand_braces(""), (Names{""}));
}

TEST(ShardPattern, WhatIsNoPatternIsRefused) {
  for (const char* pattern : {"{", "}", "a{1..2", "a}", "{a{b,c}}", "{}", "{a}", "{1..}", "{..2}", "{a..b}",
                              "{3..2}", "{1..2..3}", "{-1..2}", "{0..99999999999999999999}", "{0..1000000}",
                              "{0..18446744073709551615}", "{1..9999}{1..9999}"}) {
    try {
      (void)expand_braces(pattern);
      ADD_FAILURE() << pattern;
    } catch (const Error& refusal) {
      EXPECT_EQ(refusal.kind(), ErrorKind::usage) << pattern;
      EXPECT_NE(std::string(refusal.what()).find(pattern), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace slicereduce
