#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <string>

#include "core/error.hpp"

namespace slicereduce::testing {

/// Expects `thrown` to hold an Error of this kind whose message contains `part`.
inline void expect_error(const std::exception_ptr& thrown, ErrorKind kind, const std::string& part) {
  ASSERT_TRUE(thrown) << "nothing was thrown; expected: " << part;
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
        << "'" << part << "' is not in: " << error.what();
  }
}

/// Expects body() to throw such an Error.
template <typename Body>
void expect_error_from(Body body, ErrorKind kind, const std::string& part) {
  std::exception_ptr thrown;
  try {
    body();
  } catch (...) {
    thrown = std::current_exception();
  }
  expect_error(thrown, kind, part);
}

}  // namespace slicereduce::testing
