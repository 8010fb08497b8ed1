#pragma once

#include <atomic>
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
    return std::make_unique<Scripted>(real_.start_allreduce(buffer), hangs_, failure_);
  }
  std::unique_ptr<Pending> start_allreduce_min(std::span<std::uint64_t> values) override {
    return std::make_unique<Scripted>(real_.start_allreduce_min(values), hangs_, "");
  }
  void broadcast(std::span<std::byte> bytes, int root) override { real_.broadcast(bytes, root); }
  std::vector<std::byte> gather(std::span<const std::byte> bytes, int root) override {
    return real_.gather(bytes, root);
  }
  std::vector<std::byte> allgather(std::span<const std::byte> bytes) override {
    return real_.allgather(bytes);
  }
  void allreduce_sum(std::span<double> values) override { real_.allreduce_sum(values); }
  void barrier() override { real_.barrier(); }

 private:
  class Scripted final : public Pending {
   public:
    Scripted(std::unique_ptr<Pending> real, bool hangs, std::string failure)
        : real_(std::move(real)), hangs_(hangs), failure_(std::move(failure)) {}
    bool test() override {
      if (!failure_.empty()) {
        throw Error(ErrorKind::mpi, failure_);
      }
      return !hangs_ && real_->test();
    }

   private:
    std::unique_ptr<Pending> real_;
    const bool hangs_;
    const std::string failure_;
  };

  Communicator& real_;
  std::atomic<bool> hangs_ = false;
  mutable std::mutex mutex_;
  std::string failure_;
  std::vector<std::size_t> started_;
};

}  // namespace slicereduce::testing
