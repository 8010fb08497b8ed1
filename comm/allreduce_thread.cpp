#include "comm/allreduce_thread.hpp"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "comm/agreement.hpp"
#include "core/error.hpp"
#include "core/profile_range.hpp"
#include "core/text.hpp"

namespace slicereduce {
namespace {

using Clock = std::chrono::steady_clock;

/// Long enough to leave the core to the computation, short beside a bucket's milliseconds.
constexpr std::chrono::microseconds kPause{100};

}  // namespace

std::int64_t AllreduceRound::bytes() const {
  std::int64_t total = 0;
  for (const auto& allreduce : allreduces) {
    total += allreduce.bytes;
  }
  return total;
}

Clock::duration AllreduceRound::busy() const {
  auto by_start = allreduces;
  std::ranges::sort(by_start, {}, &AllreduceTimes::started);
  Clock::duration total{0};
  auto covered_until = Clock::time_point::min();
  for (const auto& allreduce : by_start) {
    const auto from = std::max(allreduce.started, covered_until);
    if (allreduce.finished > from) {
      total += allreduce.finished - from;
      covered_until = allreduce.finished;
    }
  }
  return total;
}

/// An agreement where `agreement` is set, else an AllReduce.
struct AllreduceThread::Item {
  std::size_t index = 0;  ///< of the AllReduce in its round
  WireBuffer buffer;
  std::optional<Agreement> agreement;
  std::unique_ptr<Pending> pending;
  Clock::time_point started;
  Clock::time_point finished;
  std::optional<ProfileSpan> span;

  void start(Communicator& communicator) {
    started = Clock::now();
    // A row each: they are under way at the same time.
    span.emplace(agreement ? "agreement" : "AllReduce",
                 agreement ? "agreement" : "AllReduce " + std::to_string(index),
                 [this] { return describe(); });
    pending = agreement ? communicator.start_allreduce_min(agreement->numbers())
                        : communicator.start_allreduce(buffer);
  }

  /// Gives up past the timeout.
  bool done(const Communicator& communicator, std::chrono::milliseconds timeout) {
    if (pending->test()) {
      finished = Clock::now();
      span.reset();
      return true;
    }
    const auto elapsed = Clock::now() - started;
    if (elapsed > timeout) {
      communicator.give_up(
          concat(describe(), " is not done after ", std::chrono::duration<double>(elapsed).count(),
                 " s: a rank has stopped or is very slow, or a link is down (--timeout allows ",
                 std::chrono::duration<double>(timeout).count(), " s)"));
    }
    return false;
  }

  [[nodiscard]] bool disagreed() const { return agreement && agreement->disagreed(); }

  [[nodiscard]] std::string describe() const {
    return agreement ? std::string("agreement on the step's plan")
                     : concat("allreduce of bucket ", index, " (", buffer.bytes.size(), " bytes of ",
                              wire_name(buffer.type), ")");
  }
};

AllreduceThread::AllreduceThread(Communicator& communicator, std::chrono::milliseconds timeout)
    : communicator_(communicator),
      timeout_(timeout),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

AllreduceThread::~AllreduceThread() {
  thread_.request_stop();
  thread_.join();
}

void AllreduceThread::submit_agreement(std::uint64_t value, bool wants_stop) {
  auto item = std::make_unique<Item>();
  item->agreement = Agreement(value, wants_stop);
  enqueue(std::move(item));
}

void AllreduceThread::submit(WireBuffer buffer) {
  auto item = std::make_unique<Item>();
  item->buffer = buffer;
  enqueue(std::move(item));
}

void AllreduceThread::enqueue(std::unique_ptr<Item> item) {
  {
    const std::lock_guard lock(mutex_);
    if (!item->agreement) {
      item->index = submitted_++;
    }
    if (failure_ || !round_.agreed) {
      return;
    }
    ++unfinished_;
    inbox_.push_back(std::move(item));
  }
  work_.notify_one();
}

bool AllreduceThread::is_recorded(std::size_t index) const {
  return index < round_.allreduces.size() && round_.allreduces[index].finished != Clock::time_point{};
}

bool AllreduceThread::finished(std::size_t index) {
  const std::lock_guard lock(mutex_);
  return is_recorded(index);
}

bool AllreduceThread::wait_for_any(std::span<const std::size_t> indices) {
  const Communicator::Wait wait(communicator_);
  std::unique_lock lock(mutex_);
  const auto any_is_recorded = [&] {
    return std::ranges::any_of(indices, [this](std::size_t index) { return is_recorded(index); });
  };
  done_.wait(lock, [&] { return failure_ || !round_.agreed || any_is_recorded(); });
  if (failure_) {
    std::rethrow_exception(failure_);
  }
  return any_is_recorded();
}

AllreduceRound AllreduceThread::wait_all() {
  const Communicator::Wait wait(communicator_);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return failure_ || unfinished_ == 0; });
  submitted_ = 0;
  if (failure_) {
    std::rethrow_exception(failure_);
  }
  return std::exchange(round_, {});
}

void AllreduceThread::run(const std::stop_token& stop) {
  Items waiting;
  Items under_way;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      const auto has_work = [this] { return !inbox_.empty(); };
      if (under_way.empty()) {
        work_.wait(lock, stop, has_work);
      } else {
        work_.wait_for(lock, stop, kPause, has_work);
      }
      std::ranges::move(inbox_, std::back_inserter(waiting));
      inbox_.clear();
    }
    try {
      while (!stop.stop_requested() && advance(waiting, under_way)) {
      }
    } catch (...) {
      waiting.clear();
      under_way.clear();
      fail(std::current_exception());
    }
  }
}

/// Whether anything moved.
bool AllreduceThread::advance(Items& waiting, Items& under_way) {
  const bool started = start_waiting(waiting, under_way);
  const bool finished = collect_done(waiting, under_way);
  return started || finished;
}

/// All at once: they share the link, and come back late together, but with only 2 MB of them under way it
/// idled between them (2 hosts: 3 to 8 % longer, Open MPI 4.1.4).
bool AllreduceThread::start_waiting(Items& waiting, Items& under_way) {
  const auto closed = [&] {
    return std::ranges::any_of(under_way, [](const auto& item) { return item->agreement.has_value(); });
  };
  bool moved = false;
  while (!waiting.empty() && !closed()) {
    waiting.front()->start(communicator_);
    under_way.push_back(std::move(waiting.front()));
    waiting.pop_front();
    moved = true;
  }
  return moved;
}

bool AllreduceThread::collect_done(Items& waiting, Items& under_way) {
  bool moved = false;
  // All are tested: each test moves its own collective on.
  for (auto item = under_way.begin(); item != under_way.end();) {
    if (!(*item)->done(communicator_, timeout_)) {
      ++item;
      continue;
    }
    if ((*item)->disagreed()) {
      drop(waiting);
    }
    record(**item);
    item = under_way.erase(item);
    moved = true;
  }
  return moved;
}

void AllreduceThread::record(const Item& item) {
  const std::lock_guard lock(mutex_);
  if (item.agreement) {
    round_.stop_requested = item.agreement->stop_requested();
  } else {
    round_.allreduces.resize(std::max(round_.allreduces.size(), item.index + 1));
    round_.allreduces[item.index] = {.started = item.started,
                                     .finished = item.finished,
                                     .bytes = static_cast<std::int64_t>(item.buffer.bytes.size())};
  }
  --unfinished_;
  done_.notify_all();
}

/// What comes after a disagreement, here and in the inbox, is not started.
void AllreduceThread::drop(Items& waiting) {
  const std::lock_guard lock(mutex_);
  round_.agreed = false;
  unfinished_ -= waiting.size() + inbox_.size();
  waiting.clear();
  inbox_.clear();
}

void AllreduceThread::fail(std::exception_ptr failure) {
  const std::lock_guard lock(mutex_);
  failure_ = std::move(failure);
  inbox_.clear();
  done_.notify_all();
}

}  // namespace slicereduce
