#pragma once

#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "comm/in_process.hpp"

namespace slicereduce::testing {

/// Runs body(communicator) on `world_size` threads, each a rank. Gives, by rank, what it threw, or null.
/// A rank that throws leaves the group, so that the others don't wait for it.
template <typename Body>
std::vector<std::exception_ptr> outcomes_of_ranks(int world_size, Body body) {
  InProcessGroup group(world_size);
  std::vector<std::exception_ptr> outcomes(static_cast<std::size_t>(world_size));
  {
    std::vector<std::jthread> threads;
    threads.reserve(outcomes.size());
    for (int rank = 0; rank < world_size; ++rank) {
      threads.emplace_back([&, rank] {
        try {
          body(group.rank(rank));
        } catch (...) {
          outcomes[static_cast<std::size_t>(rank)] = std::current_exception();
          group.abort("rank " + std::to_string(rank) + " threw");
        }
      });
    }
  }
  return outcomes;
}

/// The same, and throws what the first of the ranks threw.
template <typename Body>
void run_ranks(int world_size, Body body) {
  for (const auto& outcome : outcomes_of_ranks(world_size, body)) {
    if (outcome) {
      std::rethrow_exception(outcome);
    }
  }
}

}  // namespace slicereduce::testing
