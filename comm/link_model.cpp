#include "comm/link_model.hpp"

namespace slicereduce {

double ring_allreduce_s(double bytes, std::int64_t ranks, const Link& link) {
  if (ranks < 2) {
    return 0;
  }
  const auto n = static_cast<double>(ranks);
  return 2 * (n - 1) / n * bytes / link.bytes_per_s + 2 * (n - 1) * link.latency_s;
}

}  // namespace slicereduce
