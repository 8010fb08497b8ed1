#include "launcher/link_probe.hpp"

#include <algorithm>
#include <vector>

#include "comm/allreduce_thread.hpp"
#include "launcher/slowest.hpp"

namespace slicereduce {

namespace {

/// Collective. Median of `repeats`, of the slowest rank's, in seconds.
double allreduce_s(AllreduceThread& thread, Communicator& communicator, std::size_t bytes, int repeats) {
  std::vector<std::byte> buffer(bytes);
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    communicator.barrier();
    const auto start = std::chrono::steady_clock::now();
    thread.submit({.bytes = buffer, .type = WireType::fp32});
    (void)thread.wait_all();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return quantile(slowest_of_ranks(times, communicator), 0.5);
}

}  // namespace

Link link_of(double small_s, double large_s, double bytes, int ranks) {
  const double n = ranks;
  constexpr double kLeast = 1e-9;  // a clock's noise must not make time go backwards
  return {.bytes_per_s = 2 * (n - 1) / n * bytes / std::max(large_s - small_s, kLeast),
          .latency_s = small_s / (2 * (n - 1))};
}

Link measure_link(Communicator& communicator, std::chrono::milliseconds timeout) {
  const int ranks = communicator.world_size();
  if (ranks < 2) {
    return {};
  }
  AllreduceThread thread(communicator, timeout);
  constexpr int kSmallRepeats = 21;
  constexpr int kLargeRepeats = 3;
  (void)allreduce_s(thread, communicator, 4, 1);  // connections are made at the first message
  const double small_s = allreduce_s(thread, communicator, 4, kSmallRepeats);
  // Large enough that its time is the link's, and no larger: it is waited for.
  constexpr double kLongEnough = 0.02;
  constexpr std::size_t kMostBytes = 64UL << 20;
  std::size_t bytes = 256UL << 10;
  double large_s = allreduce_s(thread, communicator, bytes, 1);
  while (large_s < small_s + kLongEnough && bytes < kMostBytes) {
    bytes *= 2;
    large_s = allreduce_s(thread, communicator, bytes, 1);
  }
  large_s = allreduce_s(thread, communicator, bytes, kLargeRepeats);
  return link_of(small_s, large_s, static_cast<double>(bytes), ranks);
}

}  // namespace slicereduce
