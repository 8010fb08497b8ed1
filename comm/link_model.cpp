#include "comm/link_model.hpp"

#include <algorithm>
#include <bit>

namespace slicereduce {

double ring_allreduce_s(double bytes, std::int64_t ranks, const Link& link) {
  if (ranks < 2) {
    return 0;
  }
  const auto n = static_cast<double>(ranks);
  return 2 * (n - 1) / n * bytes / link.bytes_per_s + 2 * (n - 1) * link.latency_s;
}

double tree_allreduce_s(double bytes, std::int64_t ranks, const Link& link) {
  const int levels = std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(ranks, 1) - 1));
  return 2 * levels * (bytes / link.bytes_per_s + link.latency_s);
}

double allreduce_s(double bytes, std::int64_t ranks, const Cluster& cluster) {
  const std::int64_t on_node = std::max<std::int64_t>(std::min(ranks, cluster.ranks_per_node), 1);
  const std::int64_t nodes = (ranks + on_node - 1) / on_node;
  const Link inside{.bytes_per_s = cluster.node_bytes_per_s, .latency_s = 0};
  return tree_allreduce_s(bytes, on_node, inside) + ring_allreduce_s(bytes, nodes, cluster.link);
}

}  // namespace slicereduce
