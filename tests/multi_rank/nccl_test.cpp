#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include "comm/mpi_communicator.hpp"
#include "comm/nccl_communicator.hpp"
#include "core/device.hpp"
#include "tests/support/captured_step_contract.hpp"
#include "tests/support/communicator_contract.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/reducer_contract.hpp"
#include "tests/support/training_contract.hpp"

// NCCL keeps the contracts that MPI keeps, on as many cards as there are, or with several ranks on one.
namespace slicereduce {
namespace {

class OnNccl {
 public:
  OnNccl() : device_(choose_device(DeviceChoice::cuda, control_.rank())) {
    make_current(device_);
    prefer_reproducible_nccl();
    nccl_ = make_nccl_communicator(control_, {.device = device_, .timeout = std::chrono::seconds(30)});
  }
  ~OnNccl() {
    nccl_.reset();
    control_.close();
  }
  OnNccl(const OnNccl&) = delete;
  OnNccl& operator=(const OnNccl&) = delete;
  OnNccl(OnNccl&&) = delete;
  OnNccl& operator=(OnNccl&&) = delete;

  [[nodiscard]] Communicator& communicator() { return *nccl_; }
  [[nodiscard]] at::Device device() const { return device_; }

 private:
  MpiCommunicator control_{MPI_COMM_WORLD};
  at::Device device_;
  std::unique_ptr<Communicator> nccl_;
};

template <typename Clause>
class Contract : public ::testing::TestWithParam<Clause> {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) {
      GTEST_SKIP() << "there is no CUDA device";
    }
  }
};

class NcclContract : public Contract<testing::ContractClause> {};
TEST_P(NcclContract, Holds) { GetParam().run(OnNccl().communicator()); }
INSTANTIATE_TEST_SUITE_P(Nccl, NcclContract, ::testing::ValuesIn(testing::kCommunicatorContract),
                         [](const auto& instance) { return std::string(instance.param.name); });

class NcclReducer : public Contract<testing::ReducerClause> {};
TEST_P(NcclReducer, Holds) { GetParam().run(OnNccl().communicator()); }
INSTANTIATE_TEST_SUITE_P(Nccl, NcclReducer, ::testing::ValuesIn(testing::kReducerContract),
                         [](const auto& instance) { return std::string(instance.param.name); });

class NcclTraining : public Contract<int> {};
TEST_P(NcclTraining, KeepsReplicasEqual) {
  OnNccl on_nccl;
  testing::Training training({.wire = WireType::bf16, .device = on_nccl.device()}, on_nccl.communicator());
  for (int step = 0; step < 5; ++step) {
    (void)training.train_one();
    training.expect_replicas_equal();
  }
}
INSTANTIATE_TEST_SUITE_P(Nccl, NcclTraining, ::testing::Values(0));

class NcclCapturedStep : public Contract<testing::CapturedClause> {};
TEST_P(NcclCapturedStep, Keeps) {
  OnNccl on_nccl;
  GetParam().run(on_nccl.communicator(), on_nccl.device());
}
INSTANTIATE_TEST_SUITE_P(Nccl, NcclCapturedStep, ::testing::ValuesIn(testing::kCapturedContract),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(NcclCommunicator, NeedsACard) {
  MpiCommunicator control(MPI_COMM_WORLD);
  testing::expect_error_from(
      [&] {
        (void)make_nccl_communicator(control, {.device = at::kCPU, .timeout = std::chrono::seconds(1)});
      },
      ErrorKind::invariant, "CUDA devices");
  control.close();
}

}  // namespace
}  // namespace slicereduce
