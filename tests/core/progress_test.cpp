#include "core/progress.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace slicereduce {
namespace {

using namespace std::chrono_literals;

constexpr ProgressState kHalfWay{.step = 450,
                                 .total_steps = 1000,
                                 .loss = 2.34567,
                                 .images_per_s = 1234,
                                 .wire_bytes_per_s = 5.4e6,
                                 .exposed = 0.124,
                                 .top1 = 67.06};

TEST(ProgressLine, HasEverythingWhereThereIsRoom) {
  EXPECT_EQ(progress_line(kHalfWay, 65, 120),
            " 45% [==========>            ]  450/1000  loss 2.3457  ETA 1:05  top-1 67.1%  1.2 k images/s  "
            "wire 5.4 MB/s  exposed 12%");
}

TEST(ProgressLine, HasNoAccuracyBeforeAnEvaluation) {
  ProgressState first = kHalfWay;
  first.top1.reset();
  EXPECT_EQ(progress_line(first, 65, 79),
            " 45% [===>    ]  450/1000  loss 2.3457  ETA 1:05  1.2 k images/s  wire 5.4 MB/s");
}

TEST(ProgressLine, GivesUpTheLeastImportantFirst) {
  EXPECT_EQ(progress_line(kHalfWay, 65, 79),
            " 45% [====>     ]  450/1000  loss 2.3457  ETA 1:05  top-1 67.1%  1.2 k images/s");
  EXPECT_EQ(progress_line(kHalfWay, 65, 65),
            " 45% [=====>      ]  450/1000  loss 2.3457  ETA 1:05  top-1 67.1%");
  EXPECT_EQ(progress_line(kHalfWay, 65, 50), " 45% [====>     ]  450/1000  loss 2.3457  ETA 1:05");
  EXPECT_EQ(progress_line(kHalfWay, 65, 40), " 45%  450/1000  loss 2.3457  ETA 1:05");
  EXPECT_EQ(progress_line(kHalfWay, 65, 30), " 45%  450/1000  loss 2.3457");
  EXPECT_EQ(progress_line(kHalfWay, 65, 10), " 45%");
}

TEST(ProgressLine, NeverExceedsTheWidth) {
  for (int width = -1; width < 200; ++width) {
    EXPECT_LE(progress_line(kHalfWay, 1e5, width).size(), static_cast<std::size_t>(std::max(width, 0)));
  }
}

TEST(ProgressLine, StandsOddNumbers) {
  const ProgressState odd{.step = 7, .total_steps = 0, .loss = std::nan(""), .images_per_s = INFINITY};
  EXPECT_EQ(progress_line(odd, std::nullopt, 56), "  0% [>              ]  7/0  loss nan  ETA ?  ? images/s");
  const ProgressState done{.step = 10, .total_steps = 10, .loss = 0, .images_per_s = 0};
  EXPECT_EQ(progress_line(done, 0, 51), "100% [==============]  10/10  loss 0.0000  ETA 0:00");
}

/// A terminal of our own, 60 columns wide.
class Terminal {
 public:
  Terminal() : master_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    EXPECT_EQ(::grantpt(master_), 0);
    EXPECT_EQ(::unlockpt(master_), 0);
    slave_ = ::open(::ptsname(master_), O_RDWR | O_NOCTTY);
    EXPECT_GE(slave_, 0);
    termios raw{};
    EXPECT_EQ(::tcgetattr(slave_, &raw), 0);
    ::cfmakeraw(&raw);
    EXPECT_EQ(::tcsetattr(slave_, TCSANOW, &raw), 0);
    const winsize size{.ws_row = 24, .ws_col = 60, .ws_xpixel = 0, .ws_ypixel = 0};
    EXPECT_EQ(::ioctl(slave_, TIOCSWINSZ, &size), 0);
  }
  ~Terminal() {
    ::close(slave_);
    ::close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  [[nodiscard]] int slave() const { return slave_; }
  /// What was written since the last call. The kernel carries it to the master's side in its own time, so a
  /// mark is written behind it and read up to.
  [[nodiscard]] std::string shown() const {
    EXPECT_EQ(::write(slave_, "\x04", 1), 1);
    std::string text;
    for (char byte = 0; ::read(master_, &byte, 1) == 1 && byte != '\x04';) {
      text += byte;
    }
    return text;
  }

 private:
  int master_;
  int slave_ = -1;
};

ProgressState at_step(std::int64_t step) {
  return {.step = step, .total_steps = 100, .loss = 1, .images_per_s = 1};
}

TEST(Progress, DrawsTenTimesASecondAndTheLastStep) {
  const Terminal terminal;
  const Progress::Clock::time_point begin{};
  Progress progress(terminal.slave());
  ASSERT_TRUE(progress.draws());
  progress.update(at_step(10), begin);
  EXPECT_EQ(terminal.shown(), "\r\x1b[K" + progress_line(at_step(10), std::nullopt, 59));
  progress.update(at_step(11), begin + 99ms);
  EXPECT_EQ(terminal.shown(), "");
  progress.update(at_step(20), begin + 1s);
  EXPECT_EQ(terminal.shown(), "\r\x1b[K" + progress_line(at_step(20), 8, 59));
  progress.update(at_step(100), begin + 1s);
  EXPECT_NE(terminal.shown().find("100/100"), std::string::npos);
}

TEST(Progress, LeavesTheTerminalOnALineOfItsOwn) {
  const Terminal terminal;
  {
    Progress progress(terminal.slave());
    progress.update(at_step(1));
    progress.clear();
    EXPECT_TRUE(terminal.shown().ends_with("\r\x1b[K"));
    progress.clear();
    EXPECT_EQ(terminal.shown(), "");
    progress.update(at_step(100));
  }
  EXPECT_TRUE(terminal.shown().ends_with("\n"));
}

TEST(Progress, DrawsOnAPipeThatIsSaidToLeadToATerminal) {
  const Terminal terminal;
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_NONBLOCK), 0);
  {
    Progress progress(pipe[1], terminal.slave());
    EXPECT_TRUE(progress.draws());
    progress.update(at_step(1));
    progress.clear();
  }
  std::array<char, 200> drawn{};
  const auto length = ::read(pipe[0], drawn.data(), drawn.size());
  EXPECT_EQ(std::string(drawn.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0))),
            "\r\x1b[K" + progress_line(at_step(1), std::nullopt, 59) + "\r\x1b[K");
  EXPECT_EQ(terminal.shown(), "");
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST(Progress, DrawsNothingWhereThereIsNoTerminal) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_NONBLOCK), 0);
  {
    Progress progress(pipe[1]);
    EXPECT_FALSE(progress.draws());
    progress.update(at_step(1));
    progress.clear();
  }
  char byte = 0;
  EXPECT_EQ(::read(pipe[0], &byte, 1), -1);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

}  // namespace
}  // namespace slicereduce
