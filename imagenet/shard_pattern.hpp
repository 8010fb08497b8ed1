#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace slicereduce {

/// The names that a pattern stands for, in its order, as a shell expands them: "train-{0000..0146}.tar"
/// (numbers with as many digits as the first) and "{a,b}.tar", one or several of them, not nested. A pattern
/// without braces is a name. Throws Error(usage) for braces that are no pattern, and for more than a million
/// names.
[[nodiscard]] std::vector<std::string> expand_braces(std::string_view pattern);

}  // namespace slicereduce
