#include "launcher/slowest.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

namespace slicereduce {

std::vector<double> slowest_of_ranks(const std::vector<double>& times, Communicator& communicator) {
  const auto bytes = communicator.allgather(std::as_bytes(std::span(times)));
  std::vector<double> all(bytes.size() / sizeof(double));
  std::memcpy(all.data(), bytes.data(), bytes.size());
  std::vector<double> slowest = times;
  for (std::size_t i = 0; i < all.size(); ++i) {
    slowest[i % times.size()] = std::max(slowest[i % times.size()], all[i]);
  }
  return slowest;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(std::lround(q * static_cast<double>(values.size() - 1)))];
}

}  // namespace slicereduce
