// The main function of tests that run under mpirun: every rank runs the same tests in the same order.
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "comm/mpi_communicator.hpp"

namespace {

/// Below the launcher's and ctest's limits, so that the message names the test.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::chrono::seconds kTestLimit{900};  // sanitizers take their time
#else
constexpr std::chrono::seconds kTestLimit{60};
#endif

int world_rank() {
  int rank = 0;
  slicereduce::check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
  return rank;
}

/// Whether there are as many ranks as were asked for: under another library's mpirun each is a world of one,
/// in which everything holds.
bool has_all_ranks() {
  int ranks = 0;
  slicereduce::check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &ranks), "MPI_Comm_size");
  const char* const asked = std::getenv("SLICEREDUCE_TEST_RANKS");
  if (asked == nullptr || std::to_string(ranks) == asked) {
    return true;
  }
  std::cerr << "there are " << ranks << " ranks, and " << asked << " were asked for" << std::endl;
  return false;
}

/// Ranks beyond 0 have a voice only for failures, and at once: the run may hang on them.
class FailuresOnly : public testing::EmptyTestEventListener {
 public:
  explicit FailuresOnly(int rank) : rank_(rank) {}

 private:
  // Kept, since gtest holds a lock while it reports a result that current_test_info() would wait for.
  void OnTestStart(const testing::TestInfo& test) override {
    running_ = std::string(test.test_suite_name()) + "." + test.name();
  }

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) {
      return;
    }
    std::cerr << "rank " << rank_ << ", " << running_ << ": "
              << (result.file_name() == nullptr ? "" : result.file_name()) << ":" << result.line_number()
              << "\n"
              << result.message() << std::endl;
  }

  std::string running_ = "outside of a test";
  const int rank_;
};

/// Aborts all ranks when a test takes too long: one that waits for a rank which has left would wait for ever.
class Watchdog : public testing::EmptyTestEventListener {
 public:
  explicit Watchdog(int rank) : rank_(rank), thread_([this](const std::stop_token& stop) { watch(stop); }) {}

 private:
  using Clock = std::chrono::steady_clock;

  void OnTestStart(const testing::TestInfo& test) override {
    const std::lock_guard lock(mutex_);
    running_ = std::string(test.test_suite_name()) + "." + test.name();
    deadline_ = Clock::now() + kTestLimit;
  }

  void OnTestEnd(const testing::TestInfo& /*test*/) override {
    const std::lock_guard lock(mutex_);
    deadline_ = Clock::time_point::max();
  }

  void watch(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      if (Clock::now() > deadline_) {
        std::cerr << "rank " << rank_ << ": " << running_ << " is not done after " << kTestLimit.count()
                  << " s; a rank has left it, or never came" << std::endl;
        MPI_Abort(MPI_COMM_WORLD, 1);
      }
      changed_.wait_for(lock, stop, std::chrono::seconds(1), [] { return false; });
    }
  }

  const int rank_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::string running_;
  Clock::time_point deadline_ = Clock::time_point::max();
  std::jthread thread_;  // the last member: it uses all others
};

/// A failure on any rank is a failure on all.
bool failed_anywhere(bool failed_here) {
  int failed = failed_here ? 1 : 0;
  slicereduce::check_mpi(MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD),
                         "MPI_Allreduce");
  return failed != 0;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  slicereduce::prefer_measured_algorithms();
  int provided = 0;
  slicereduce::check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  const int rank = world_rank();
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank > 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly(rank));
  }
  listeners.Append(new Watchdog(rank));  // gtest owns its listeners
  const bool failed_here = !has_all_ranks() || RUN_ALL_TESTS() != 0;
  const bool failed = failed_anywhere(failed_here);
  if (rank == 0 && failed && !failed_here) {
    std::cout << "[  FAILED  ] on another rank; see above" << std::endl;
  }
  slicereduce::check_mpi(MPI_Finalize(), "MPI_Finalize");
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
