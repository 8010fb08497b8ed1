#include "core/lock_file.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "tests/support/expect_error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

class Locking : public ::testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "lock"; }
  void take() { held_.emplace(path(), "the run", "wait for it"); }
  void expect_refused(const std::string& part) {
    testing::expect_error_from([this] { const LockFile other(path(), "the run", "wait for it"); },
                               ErrorKind::usage, part);
  }

  testing::TemporaryFolder folder_;
  std::optional<LockFile> held_;
};

TEST_F(Locking, KeepsOthersOutAndSaysWhoHoldsIt) {
  take();
  expect_refused("the run is in use by process " + std::to_string(::getpid()) + " on ");
  expect_refused(": wait for it");
}

TEST_F(Locking, LetsOthersInAfterwards) {
  take();
  held_.reset();
  EXPECT_NO_THROW(take());
}

TEST_F(Locking, ADeadHolderLeavesNoLock) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const LockFile held(path(), "the run", "wait for it");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_TRUE(std::filesystem::exists(path()));
  EXPECT_NO_THROW(take());
}

TEST_F(Locking, FollowsNoLink) {
  const auto elsewhere = folder_.path() / "elsewhere";
  std::ofstream(elsewhere) << "precious";
  std::filesystem::create_symlink(elsewhere, path());
  testing::expect_error_from([this] { take(); }, ErrorKind::input, "lock");
  std::string content;
  std::ifstream(elsewhere) >> content;
  EXPECT_EQ(content, "precious");
}

TEST_F(Locking, AFolderThatIsMissingIsAnError) {
  testing::expect_error_from(
      [this] { const LockFile other(folder_.path() / "nowhere" / "lock", "the run", "wait for it"); },
      ErrorKind::input, "nowhere");
}

}  // namespace
}  // namespace slicereduce
