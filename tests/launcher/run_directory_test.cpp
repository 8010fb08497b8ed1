#include "launcher/run_directory.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/expect_error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

TEST(RunDirectory, MakesItsFoldersAndFiles) {
  const testing::TemporaryFolder folder;
  const RunDirectory directory(folder.path() / "runs" / "one");
  directory.create();
  directory.create();  // a run that goes on
  directory.write_config("[train]\nlr = 0.1\n");
  directory.write_summary({{"top1", 90.5}});
  EXPECT_TRUE(std::filesystem::is_directory(directory.checkpoints()));
  std::ifstream file(directory.summary());
  EXPECT_EQ(nlohmann::json::parse(file).at("top1"), 90.5);
}

/// On Linux a name is bytes.
TEST(RunDirectory, WritesASummaryOfAFolderWhoseNameIsNotUtf8) {
  const testing::TemporaryFolder folder;
  const RunDirectory directory(folder.path() / "run");
  directory.create();
  directory.write_summary({{"run_dir",
                            "donn\xe9"
                            "es"},
                           {"top1", 90.5}});
  std::ifstream file(directory.summary());
  EXPECT_EQ(nlohmann::json::parse(file).at("top1"), 90.5);
}

TEST(RunDirectory, SaysThatItCannotWrite) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder.path() / "file") << "in the way";
  const RunDirectory directory(folder.path() / "file" / "run");
  testing::expect_error_from([&] { directory.create(); }, ErrorKind::input, "--run-dir");
}

}  // namespace
}  // namespace slicereduce
