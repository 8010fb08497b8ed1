#include "launcher/out_of_memory.hpp"

#include "core/text.hpp"

namespace slicereduce {

Error does_not_fit(std::int64_t images, c10::Device device, const c10::OutOfMemoryError& failure) {
  return {ErrorKind::usage,
          concat("a step with ", images, " images at once does not fit into the memory of ", device.str(),
                 ": take a smaller --batch-size, and --accumulate for as large a step, or --precision bf16 (",
                 failure.what_without_backtrace(), ")")};
}

}  // namespace slicereduce
