#include "launcher/watchdog.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <optional>

#include "comm/mpi_communicator.hpp"

namespace slicereduce {
namespace {

using std::chrono::milliseconds;

/// The least that a watchdog has.
constexpr milliseconds kLimit{1000};

class Messages {
 public:
  [[nodiscard]] Watchdog::OnSilence taker() {
    return [this](const std::string& message) {
      const std::lock_guard lock(mutex_);
      all_ += message + "\n";
    };
  }
  [[nodiscard]] std::string all() {
    const std::lock_guard lock(mutex_);
    return all_;
  }

 private:
  std::mutex mutex_;
  std::string all_;
};

class WatchdogOfRanks : public ::testing::Test {
 protected:
  void TearDown() override { communicator_.close(); }
  [[nodiscard]] bool is_last() const { return communicator_.rank() == communicator_.world_size() - 1; }
  [[nodiscard]] std::string name_of_last() const {
    return "rank " + std::to_string(communicator_.world_size() - 1) + " on ";
  }
  void make_watchdog() {
    watchdog_.emplace(MPI_COMM_WORLD, communicator_, activity_, kLimit, messages_.taker());
  }

  MpiCommunicator communicator_{MPI_COMM_WORLD};
  Activity activity_;
  Messages messages_;
  std::optional<Watchdog> watchdog_;
};

TEST_F(WatchdogOfRanks, IsQuietWhereAllAreAlive) {
  make_watchdog();
  std::this_thread::sleep_for(2 * kLimit);
  communicator_.barrier();
  EXPECT_EQ(messages_.all(), "");
}

TEST_F(WatchdogOfRanks, NamesTheOneThatIsSilent) {
  make_watchdog();
  if (is_last() && communicator_.rank() > 0) {
    watchdog_.reset();
  }
  std::this_thread::sleep_for(2 * kLimit);
  communicator_.barrier();
  // The others may find rank 0 silent, which has said its word.
  const bool watches = communicator_.rank() == 0 && communicator_.world_size() > 1;
  EXPECT_EQ(messages_.all().find(name_of_last()) != std::string::npos, watches) << messages_.all();
}

TEST_F(WatchdogOfRanks, RankZeroIsWatchedByAllOthers) {
  make_watchdog();
  if (communicator_.rank() == 0) {
    watchdog_.reset();
  }
  std::this_thread::sleep_for(2 * kLimit);
  communicator_.barrier();
  const bool watches = communicator_.rank() > 0;
  EXPECT_EQ(messages_.all().find("rank 0 on ") != std::string::npos, watches) << messages_.all();
}

TEST_F(WatchdogOfRanks, KnowsWhomTheOthersWaitFor) {
  make_watchdog();
  activity_.at_step(5);
  {
    std::optional<Communicator::Wait> wait;
    if (!is_last()) {
      wait.emplace(communicator_);
    }
    std::this_thread::sleep_for(kLimit / 2);
    const std::string late = watchdog_->whom_they_wait_for();
    if (communicator_.rank() == 0 && communicator_.world_size() > 1) {
      EXPECT_NE(late.find(name_of_last()), std::string::npos) << late;
      EXPECT_NE(late.find("step 5, training"), std::string::npos) << late;
    }
    if (is_last()) {
      EXPECT_EQ(late, "");
    }
  }
  communicator_.barrier();
}

}  // namespace
}  // namespace slicereduce
