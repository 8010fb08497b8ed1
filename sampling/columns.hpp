#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

namespace slicereduce {

/// Calls `work(taps)` with the number as a constant where it is a usual one, so that the copies of a column
/// become a few instructions.
template <typename Work>
void with_taps(std::int64_t taps, const Work& work) {
  if (taps == 1) {
    work(std::integral_constant<std::int64_t, 1>());
  } else if (taps == 9) {
    work(std::integral_constant<std::int64_t, 9>());
  } else {
    work(taps);
  }
}

/// compact[j, :] = dense[columns[j], :], each of `taps` values.
template <typename From, typename To, typename Taps>
void gather_columns(const From* dense, std::span<const std::int32_t> columns, Taps taps, To* compact) {
  for (const std::int32_t column : columns) {
    for (std::int64_t t = 0; t < taps; ++t) {
      *compact++ = static_cast<To>(dense[column * taps + t]);
    }
  }
}

/// dense[columns[j], :] = compact[j, :]
template <typename From, typename To, typename Taps>
void scatter_columns(const From* compact, std::span<const std::int32_t> columns, Taps taps, To* dense) {
  for (const std::int32_t column : columns) {
    for (std::int64_t t = 0; t < taps; ++t) {
      dense[column * taps + t] = static_cast<To>(*compact++);
    }
  }
}

}  // namespace slicereduce
