#include "imagenet/shard_pattern.hpp"

#include <charconv>
#include <cstdint>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr std::size_t kMostNames = 1'000'000;

[[noreturn]] void refuse(std::string_view pattern, const std::string& why) {
  throw Error(ErrorKind::usage, concat("the pattern '", pattern, "' ", why,
                                       ": expected as in train-{0000..0146}.tar or {a,b}.tar (--data)"));
}

std::uint64_t number(std::string_view text, std::string_view pattern) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.begin(), text.end(), value);
  if (problem != std::errc() || end != text.end()) {
    refuse(pattern, concat("has '", text, "' for a number"));
  }
  return value;
}

std::vector<std::string> range(std::string_view first, std::string_view last, std::string_view pattern) {
  const std::uint64_t begin = number(first, pattern);
  const std::uint64_t end = number(last, pattern);
  if (begin > end) {
    refuse(pattern, "counts down");
  }
  if (end - begin >= kMostNames) {
    refuse(pattern, "stands for more than a million names");
  }
  std::vector<std::string> names;
  for (std::uint64_t value = begin; value <= end; ++value) {
    std::string digits = std::to_string(value);
    if (digits.size() < first.size()) {
      digits.insert(0, first.size() - digits.size(), '0');
    }
    names.push_back(std::move(digits));
  }
  return names;
}

std::vector<std::string> list(std::string_view inside) {
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin <= inside.size();) {
    const std::size_t comma = std::min(inside.find(',', begin), inside.size());
    names.emplace_back(inside.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return names;
}

std::vector<std::string> alternatives(std::string_view inside, std::string_view pattern) {
  if (const std::size_t dots = inside.find(".."); dots != std::string_view::npos) {
    return range(inside.substr(0, dots), inside.substr(dots + 2), pattern);
  }
  if (inside.find(',') == std::string_view::npos) {
    refuse(pattern, concat("has '{", inside, "}'"));
  }
  return list(inside);
}

}  // namespace

std::vector<std::string> expand_braces(std::string_view pattern) {
  std::vector<std::string> names{""};
  const auto append = [&](const std::vector<std::string>& endings) {
    if (names.size() * endings.size() > kMostNames) {
      refuse(pattern, "stands for more than a million names");
    }
    std::vector<std::string> longer;
    longer.reserve(names.size() * endings.size());
    for (const auto& name : names) {
      for (const auto& ending : endings) {
        longer.push_back(name + ending);
      }
    }
    names = std::move(longer);
  };
  std::size_t at = 0;
  while (at < pattern.size()) {
    const std::size_t open = std::min(pattern.find_first_of("{}", at), pattern.size());
    append({std::string(pattern.substr(at, open - at))});
    if (open == pattern.size()) {
      break;
    }
    const std::size_t close = pattern.find_first_of("{}", open + 1);
    if (pattern[open] != '{' || close == std::string_view::npos || pattern[close] != '}') {
      refuse(pattern, "has a brace without its other one");
    }
    append(alternatives(pattern.substr(open + 1, close - open - 1), pattern));
    at = close + 1;
  }
  return names;
}

}  // namespace slicereduce
