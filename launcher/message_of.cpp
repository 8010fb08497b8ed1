#include "launcher/message_of.hpp"

#include <c10/util/Exception.h>

#include <new>

namespace slicereduce {

std::string message_of(const std::exception& problem) {
  if (const auto* of_torch = dynamic_cast<const c10::Error*>(&problem)) {
    return of_torch->what_without_backtrace();
  }
  if (dynamic_cast<const std::bad_alloc*>(&problem) != nullptr) {
    return "there is not enough memory";
  }
  return problem.what();
}

}  // namespace slicereduce
