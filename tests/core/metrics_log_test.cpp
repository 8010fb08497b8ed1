#include "core/metrics_log.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

class MetricsLogFile : public ::testing::Test {
 protected:
  std::string content() const {
    std::stringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  void put(const std::string& text) const { std::ofstream(path_) << text; }

  const testing::TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
  const std::filesystem::path path_ = folder_ / "metrics.jsonl";
};

TEST_F(MetricsLogFile, EachLineIsThereAtOnceInTheOrderOfItsKeys) {
  MetricsLog log(path_);
  log.write({{"step", 1}, {"loss", 0.5}});
  EXPECT_EQ(content(), "{\"step\":1,\"loss\":0.5}\n");
  log.write({{"epoch", 0}, {"network", "dense"}});
  EXPECT_EQ(content(), "{\"step\":1,\"loss\":0.5}\n{\"epoch\":0,\"network\":\"dense\"}\n");
}

TEST_F(MetricsLogFile, WhatIsNotFiniteIsNull) {
  MetricsLog(path_).write({{"loss", std::nan("")}, {"lr", INFINITY}});
  EXPECT_EQ(content(), "{\"loss\":null,\"lr\":null}\n");
}

TEST_F(MetricsLogFile, BytesThatAreNotTextDoNotStopARun) {
  MetricsLog(path_).write({{"note", "\xff"}});
  EXPECT_TRUE(nlohmann::json::parse(content()).is_object());
}

TEST_F(MetricsLogFile, OpeningAppends) {
  MetricsLog(path_).write({{"step", 1}});
  MetricsLog(path_).write({{"step", 2}});
  EXPECT_EQ(content(), "{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(MetricsLogFile, ResumingTakesOffWhatIsDoneAgain) {
  put("{\"step\":1}\n{\"step\":2}\n{\"network\":\"dense\"}\n{\"step\":3}\n{\"network\":\"dense\"}\n{\"step\":"
      "4}\n");
  MetricsLog log = MetricsLog::resume(path_, 2);
  EXPECT_EQ(content(), "{\"step\":1}\n{\"step\":2}\n{\"network\":\"dense\"}\n");
  log.write({{"step", 3}});
  EXPECT_EQ(content(), "{\"step\":1}\n{\"step\":2}\n{\"network\":\"dense\"}\n{\"step\":3}\n");
}

TEST_F(MetricsLogFile, WhatTheLastStepMakesAgainIsTakenOff) {
  const std::string kept = "{\"step\":1,\"network\":\"dense\"}\n{\"step\":2,\"loss\":1}\n";
  put(kept + "{\"step\":2,\"network\":\"sampled\"}\n{\"step\":2,\"network\":\"dense\"}\n");
  { const MetricsLog log = MetricsLog::resume(path_, 2, "network"); }
  EXPECT_EQ(content(), kept);
}

TEST_F(MetricsLogFile, ALineTornByACrashIsTakenOff) {
  put("{\"step\":1}\n{\"step\":2}");
  MetricsLog(path_).write({{"step", 2}});
  EXPECT_EQ(content(), "{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(MetricsLogFile, AFileOfAnotherKindIsLeftAlone) {
  const std::string notes = "{\"step\":1}\nmy notes\n{\"step\":2}\n";
  put(notes);
  try {
    MetricsLog log(path_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
  }
  EXPECT_EQ(content(), notes);
}

TEST_F(MetricsLogFile, WhatIsNoFileIsRefusedAndALinkNotFollowed) {
  EXPECT_THROW(MetricsLog("/dev/full"), Error);
  EXPECT_THROW(MetricsLog(folder_ / "missing" / "metrics.jsonl"), Error);
  const auto notes = folder_ / "notes";
  std::ofstream(notes) << "of somebody else";
  std::filesystem::create_symlink(notes, path_);
  EXPECT_THROW((void)MetricsLog::resume(path_, 5), Error);
  EXPECT_EQ(std::filesystem::file_size(notes), 16U);
}

/// As far as files of this process may grow: what a full disk does, without one.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, SIG_DFL);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
};

TEST_F(MetricsLogFile, WhatAFullDiskCutShortIsTakenOffAgain) {
  MetricsLog log(path_);
  log.write({{"step", 1}});
  const std::string before = content();
  {
    const FileSizeLimit limit(before.size() + 5);
    EXPECT_THROW(log.write({{"step", 2}}), Error);
  }
  EXPECT_EQ(content(), before);
  log.write({{"step", 3}});
  EXPECT_EQ(content(), before + "{\"step\":3}\n");
}

}  // namespace
}  // namespace slicereduce
