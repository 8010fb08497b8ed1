#pragma once

// Before 16 clang lacks what libstdc++ makes std::source_location of.
#if defined(__clang__) && __clang_major__ < 16
#include <cstdint>

namespace std {

struct source_location {
  static constexpr source_location current(const char* file = __builtin_FILE(),
                                           const char* function = __builtin_FUNCTION(),
                                           uint_least32_t line = __builtin_LINE()) {
    return {file, function, line};
  }
  constexpr const char* file_name() const { return file; }
  constexpr const char* function_name() const { return function; }
  constexpr uint_least32_t line() const { return number; }

  const char* file;
  const char* function;
  uint_least32_t number;
};

}  // namespace std
#endif
