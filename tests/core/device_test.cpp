#include "core/device.hpp"

#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"

namespace slicereduce {
namespace {

TEST(Device, ParsesItsThreeChoices) {
  EXPECT_EQ(parse_device_choice("auto"), DeviceChoice::automatic);
  EXPECT_EQ(parse_device_choice("cpu"), DeviceChoice::cpu);
  EXPECT_EQ(parse_device_choice("cuda"), DeviceChoice::cuda);
  try {
    (void)parse_device_choice("tpu");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("tpu"), std::string::npos);
  }
}

TEST(Device, CpuIsTheCpuOnEveryRank) {
  EXPECT_EQ(choose_device(DeviceChoice::cpu, 0), at::kCPU);
  EXPECT_EQ(choose_device(DeviceChoice::cpu, 7), at::kCPU);
}

TEST(Device, CudaWhereThereIsNoneIsBadUsageAndAutomaticIsTheCpu) {
  if (at::hasCUDA()) {
    EXPECT_EQ(choose_device(DeviceChoice::cuda, 0), at::Device(at::kCUDA, 0));
    EXPECT_EQ(choose_device(DeviceChoice::automatic, 0), at::Device(at::kCUDA, 0));
    return;
  }
  EXPECT_EQ(choose_device(DeviceChoice::automatic, 1), at::kCPU);
  try {
    (void)choose_device(DeviceChoice::cuda, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("--device cpu"), std::string::npos);
  }
}

TEST(Cudnn, ComputesTheSameBitsUnlessItIsToBeFastest) {
  make_current(at::kCPU, parse_cudnn("fastest"));
  EXPECT_TRUE(at::globalContext().benchmarkCuDNN());
  EXPECT_FALSE(at::globalContext().deterministicCuDNN());
  make_current(at::kCPU, parse_cudnn("deterministic"));
  EXPECT_FALSE(at::globalContext().benchmarkCuDNN());
  EXPECT_TRUE(at::globalContext().deterministicCuDNN());
  EXPECT_THROW((void)parse_cudnn("quick"), Error);
}

TEST(DefaultThreads, AreTheUsableCoresSharedOut) {
  EXPECT_EQ(default_threads(8, 1), 8);
  EXPECT_EQ(default_threads(8, 3), 2);
  EXPECT_EQ(default_threads(8, 9), 1);
}

TEST(UsableCores, FollowTheAffinityOfTheProcess) {
  // In a thread of its own: the affinity of the others stays.
  std::thread([] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(::sched_getcpu(), &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(usable_cores().size(), 1U);
  }).join();
}

TEST(PeakMemory, GrowsWithWhatIsTouchedAndStays) {
  const std::int64_t before = peak_memory_bytes();
  constexpr std::size_t kBytes = 64 << 20;
  {
    std::vector<char> block(kBytes, 1);
    EXPECT_EQ(block.back(), 1);
  }
  EXPECT_GE(peak_memory_bytes(), before);
  EXPECT_GE(peak_memory_bytes(), static_cast<std::int64_t>(kBytes));
}

}  // namespace
}  // namespace slicereduce
