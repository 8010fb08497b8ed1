#include "comm/link_model.hpp"

namespace slicereduce {

double ring_allreduce_s(double bytes, std::int64_t ranks, const Link& link) {
  if (ranks < 2) {
    return 0;
  }
  const auto n = static_cast<double>(ranks);
  return 2 * (n - 1) / n * bytes / link.bytes_per_s + 2 * (n - 1) * link.latency_s;
}

double hierarchical_allreduce_s(double bytes, std::int64_t nodes, std::int64_t ranks_per_node,
                                const Link& link, const Link& inside) {
  const double within_s = ranks_per_node < 2 ? 0 : 2 * (bytes / inside.bytes_per_s + inside.latency_s);
  return within_s + ring_allreduce_s(bytes, nodes, link);
}

}  // namespace slicereduce
