#pragma once

namespace slicereduce {

/// A function object of several lambdas: what std::visit() does with each kind of a variant.
template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace slicereduce
