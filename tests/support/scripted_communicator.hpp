#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "core/error.hpp"

namespace slicereduce::testing {

/// One rank whose reductions do as a test says; another communicator does the rest.
class ScriptedCommunicator final : public Communicator {
 public:
  explicit ScriptedCommunicator(Communicator& real) : real_(real) {}

  /// From now on no reduction gets done.
  void hang() { hangs_ = true; }
  /// From now on testing a sum throws Error(mpi) with this message.
  void fail_sums(const std::string& message) {
    const std::lock_guard lock(mutex_);
    failure_ = message;
  }
  /// So many sums, from `first` on, do not get done before release().
  void hold_sums(std::size_t first, std::size_t count) {
    first_held_ = first;
    end_held_ = first + count;
  }
  void release() { end_held_ = 0; }
  [[nodiscard]] std::size_t finished_sums() const { return finished_; }
  /// The sizes in bytes of all sums so far, in the order in which they were started.
  [[nodiscard]] std::vector<std::size_t> started_sums() const {
    const std::lock_guard lock(mutex_);
    return started_;
  }

  [[nodiscard]] int rank() const noexcept override { return real_.rank(); }
  [[nodiscard]] int world_size() const noexcept override { return real_.world_size(); }
  std::unique_ptr<Pending> start_allreduce(WireBuffer buffer) override {
    const std::lock_guard lock(mutex_);
    started_.push_back(buffer.bytes.size());
    const auto is_held = [this, sum = started_.size() - 1] {
      return hangs_ || (first_held_ <= sum && sum < end_held_);
    };
    return std::make_unique<Scripted>(real_.start_allreduce(buffer), is_held, failure_, &finished_);
  }
  std::unique_ptr<Pending> start_allreduce_min(std::span<std::uint64_t> values) override {
    return std::make_unique<Scripted>(
        real_.start_allreduce_min(values), [this] { return hangs_.load(); }, "");
  }
  void broadcast(std::span<std::byte> bytes, int root) override { real_.broadcast(bytes, root); }
  void gather(std::span<const std::byte> bytes, std::span<std::byte> all, int root) override {
    real_.gather(bytes, all, root);
  }
  std::vector<std::byte> allgather(std::span<const std::byte> bytes) override {
    return real_.allgather(bytes);
  }
  void allreduce_sum(std::span<double> values) override { real_.allreduce_sum(values); }
  void barrier() override { real_.barrier(); }

 private:
  class Scripted final : public Pending {
   public:
    Scripted(std::unique_ptr<Pending> real, std::function<bool()> is_held, std::string failure,
             std::atomic<std::size_t>* finished = nullptr)
        : real_(std::move(real)),
          is_held_(std::move(is_held)),
          failure_(std::move(failure)),
          finished_(finished) {}
    bool test() override {
      if (!failure_.empty()) {
        throw Error(ErrorKind::mpi, failure_);
      }
      const bool is_done = !is_held_() && real_->test();
      if (is_done && finished_ != nullptr) {
        ++*finished_;
      }
      return is_done;
    }

   private:
    std::unique_ptr<Pending> real_;
    const std::function<bool()> is_held_;
    const std::string failure_;
    std::atomic<std::size_t>* finished_;
  };

  Communicator& real_;
  std::atomic<bool> hangs_ = false;
  std::atomic<std::size_t> first_held_ = 0;
  std::atomic<std::size_t> end_held_ = 0;
  std::atomic<std::size_t> finished_ = 0;
  mutable std::mutex mutex_;
  std::string failure_;
  std::vector<std::size_t> started_;
};

}  // namespace slicereduce::testing
