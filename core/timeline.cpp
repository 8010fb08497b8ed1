#include "core/timeline.hpp"

#include <unistd.h>

#include <atomic>
#include <mutex>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

std::atomic<bool> exists{false};
std::mutex guards_open;
Timeline* open = nullptr;

std::string& own_name() {
  thread_local std::string name = concat("thread ", ::gettid());
  return name;
}

}  // namespace

Timeline::Timeline() {
  const std::lock_guard lock(guards_open);
  require(open == nullptr, "a process has one timeline at a time");
  open = this;
  exists = true;
}

Timeline::~Timeline() {
  const std::lock_guard lock(guards_open);
  exists = false;
  open = nullptr;
}

std::vector<TimelineEvent> Timeline::take() {
  const std::lock_guard lock(guards_open);
  return std::exchange(events_, {});
}

bool Timeline::records() noexcept { return exists.load(std::memory_order_relaxed); }

void Timeline::record(TimelineEvent event) {
  const std::lock_guard lock(guards_open);
  if (open != nullptr) {
    open->events_.push_back(std::move(event));
  }
}

void name_this_thread(std::string name) { own_name() = std::move(name); }

const std::string& name_of_this_thread() { return own_name(); }

}  // namespace slicereduce
