#include "launcher/deadline.hpp"

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

namespace slicereduce {

Deadline::Deadline(std::chrono::milliseconds limit, std::function<void()> on_missed)
    : thread_([limit, missed = std::move(on_missed)](const std::stop_token& met) {
        std::mutex mutex;
        std::condition_variable_any waiting;
        std::unique_lock lock(mutex);
        waiting.wait_for(lock, met, limit, [] { return false; });
        if (!met.stop_requested()) {
          missed();
        }
      }) {}

}  // namespace slicereduce
