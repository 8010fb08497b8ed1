#include "launcher/link_probe.hpp"

#include <algorithm>
#include <vector>

#include "comm/allreduce_thread.hpp"
#include "core/text.hpp"
#include "launcher/slowest.hpp"

namespace slicereduce {

namespace {

/// Collective. Median of `repeats`, of the slowest rank's, in seconds.
double time_allreduce_s(AllreduceThread& thread, Communicator& communicator, std::size_t bytes, int repeats) {
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

HierarchyChoice settle_hierarchy(MpiCommunicator& communicator, const std::string& asked,
                                 std::chrono::milliseconds timeout) {
  if (!communicator.has_levels() || asked != "auto") {
    communicator.reduce_in_levels(asked == "on");
    return {.value = asked, .reason = {}};
  }
  constexpr std::size_t kBytes = 250'000;
  constexpr int kRepeats = 5;
  const auto time_ms = [&](bool in_levels) {
    communicator.reduce_in_levels(in_levels);
    AllreduceThread thread(communicator, timeout);
    (void)time_allreduce_s(thread, communicator, kBytes, 1);
    return 1e3 * time_allreduce_s(thread, communicator, kBytes, kRepeats);
  };
  const double ring_ms = time_ms(false);
  const double levels_ms = time_ms(true);
  const bool in_levels = levels_ms < ring_ms;
  communicator.reduce_in_levels(in_levels);
  return {.value = in_levels ? "on" : "off",
          .reason = concat("hierarchy: 0.25 MB take ", levels_ms, " ms in two levels, ", ring_ms,
                           " ms as one ring; --hierarchy ", in_levels ? "on" : "off")};
}

Link measure_link(Communicator& communicator, std::chrono::milliseconds timeout) {
  const int ranks = communicator.world_size();
  if (ranks < 2) {
    return {};
  }
  AllreduceThread thread(communicator.on_host(), timeout);
  constexpr int kSmallRepeats = 21;
  constexpr int kLargeRepeats = 3;
  (void)time_allreduce_s(thread, communicator, 4, 1);  // connections are made at the first message
  const double small_s = time_allreduce_s(thread, communicator, 4, kSmallRepeats);
  // Large enough that its time is the link's, and no larger: it is waited for.
  constexpr double kLongEnough = 0.02;
  constexpr std::size_t kMostBytes = 64UL << 20;
  std::size_t bytes = 256UL << 10;
  double large_s = time_allreduce_s(thread, communicator, bytes, 1);
  while (large_s < small_s + kLongEnough && bytes < kMostBytes) {
    bytes *= 2;
    large_s = time_allreduce_s(thread, communicator, bytes, 1);
  }
  large_s = time_allreduce_s(thread, communicator, bytes, kLargeRepeats);
  return link_of(small_s, large_s, static_cast<double>(bytes), ranks);
}

}  // namespace slicereduce
