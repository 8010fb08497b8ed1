#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace slicereduce {

/// For calls that can hang and take no time-out, such as those that start and end MPI: if it still exists
/// after `limit`, `on_missed` is called once, from a thread of its own. It should end the process.
class Deadline {
 public:
  Deadline(std::chrono::milliseconds limit, std::function<void()> on_missed);

 private:
  std::jthread thread_;
};

}  // namespace slicereduce
