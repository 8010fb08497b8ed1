#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

/// What `value` names among `choices`. Throws Error(usage) with the value, all choices, and the option.
template <typename T>
[[nodiscard]] T parse_choice(std::string_view value, std::string_view option,
                             std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::string known;
  for (const auto& [name, choice] : choices) {
    if (name == value) {
      return choice;
    }
    known += concat(known.empty() ? "" : ", ", name);
  }
  throw Error(ErrorKind::usage, concat("'", value, "': expected one of ", known, " (", option, ")"));
}

}  // namespace slicereduce
