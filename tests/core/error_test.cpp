#include "core/error.hpp"

#include <gtest/gtest.h>

namespace slicereduce {
namespace {

TEST(Error, BadInputAndFailuresHaveTheirOwnExitCodes) {
  EXPECT_EQ(Error(ErrorKind::usage, "x").exit_code(), ExitCode::bad_input);
  EXPECT_EQ(Error(ErrorKind::input, "x").exit_code(), ExitCode::bad_input);
  EXPECT_EQ(Error(ErrorKind::io, "x").exit_code(), ExitCode::failed);
  EXPECT_EQ(Error(ErrorKind::mpi, "x").exit_code(), ExitCode::failed);
}

TEST(Require, NamesWhatFailedAndWhere) {
  require(true, "never thrown");
  try {
    require(false, "two is one");
    FAIL() << "require(false) must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invariant);
    EXPECT_NE(std::string(error.what()).find("two is one"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("error_test.cpp"), std::string::npos);
  }
}

}  // namespace
}  // namespace slicereduce
