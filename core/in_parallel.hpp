#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace slicereduce {

/// Runs `work` for each of [0, count) on at most `threads` threads. After a failure no further one begins; of
/// several the first number's is thrown.
template <typename Work>
void in_parallel(std::size_t count, std::size_t threads, Work work) {
  std::vector<std::exception_ptr> failures(count);
  std::atomic<std::size_t> next = 0;
  {
    std::vector<std::jthread> pool;
    for (std::size_t i = 0; i < std::min(count, threads); ++i) {
      pool.emplace_back([&] {
        for (std::size_t at = next++; at < count; at = next++) {
          try {
            work(at);
          } catch (...) {
            failures[at] = std::current_exception();
            next = count;
          }
        }
      });
    }
  }
  for (const auto& failure : failures) {
    if (failure) {
      std::rethrow_exception(failure);
    }
  }
}

}  // namespace slicereduce
