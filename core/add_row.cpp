#include "core/add_row.hpp"

#include "core/processors.hpp"

namespace slicereduce {

namespace {

template <typename Number>
void add_loop(float* __restrict sums, const Number* __restrict added, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    sums[i] += static_cast<float>(added[i]);
  }
}

}  // namespace

SLICEREDUCE_FOR_EACH_X86 void add_row(float* sums, const float* added, std::int64_t count) {
  add_loop(sums, added, count);
}

SLICEREDUCE_FOR_EACH_X86 void add_row(float* sums, const at::BFloat16* added, std::int64_t count) {
  add_loop(sums, added, count);
}

}  // namespace slicereduce
