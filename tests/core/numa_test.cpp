#include "core/numa.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <fstream>
#include <thread>

#include "core/device.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce {
namespace {

TEST(Numa, ReadsListsOfCores) {
  EXPECT_EQ(parse_core_list("0-3,8,10-11"), (std::vector<int>{0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(parse_core_list("5"), (std::vector<int>{5}));
  EXPECT_TRUE(parse_core_list("").empty());
  EXPECT_TRUE(parse_core_list("none").empty());
}

/// A machine of two nodes, as the kernel describes it.
class Machine : public ::testing::Test {
 protected:
  Machine() {
    write("bus/pci/devices/0000:3b:00.0/numa_node", "1");
    write("bus/pci/devices/0000:01:00.0/numa_node", "-1");
    write("devices/system/node/node0/cpulist", "0-3");
    write("devices/system/node/node1/cpulist", "4-7");
  }
  void write(const std::string& file, const std::string& line) {
    const auto path = folder_.path() / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << line << "\n";
  }
  [[nodiscard]] std::vector<int> near(const std::string& address, const std::vector<int>& usable) const {
    return cores_near(address, usable, folder_.path());
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(Machine, KnowsTheCoresNearADevice) {
  EXPECT_EQ(near("0000:3b:00.0", {0, 1, 2, 3, 4, 5, 6, 7}), (std::vector<int>{4, 5, 6, 7}));
  EXPECT_EQ(near("0000:3b:00.0", {3, 5}), (std::vector<int>{5}));
}

TEST_F(Machine, LeavesAllWhereNoneIsNear) {
  EXPECT_EQ(near("0000:3b:00.0", {0, 1}), (std::vector<int>{0, 1}));  // a scheduler has bound the process
  EXPECT_EQ(near("0000:01:00.0", {0, 5}), (std::vector<int>{0, 5}));
  EXPECT_EQ(near("0000:ff:00.0", {0, 5}), (std::vector<int>{0, 5}));
}

TEST(Numa, TheCpuIsNearAllCores) { EXPECT_EQ(cores_near(c10::kCPU), usable_cores()); }

TEST(Numa, KeepsAThreadWhereItIsTold) {
  const std::vector<int> all = usable_cores();
  std::vector<int> of_thread;
  std::thread([&] {
    keep_this_thread_on({all.back()});
    of_thread = usable_cores();
  }).join();
  EXPECT_EQ(of_thread, (std::vector<int>{all.back()}));
  EXPECT_EQ(usable_cores(), all);
  std::thread([&] {
    keep_this_thread_on({});
    of_thread = usable_cores();
  }).join();
  EXPECT_EQ(of_thread, all);
}

}  // namespace
}  // namespace slicereduce
