#include "comm/communicator.hpp"

#include <gtest/gtest.h>

#include "comm/in_process.hpp"

namespace slicereduce {
namespace {

/// As NCCL's: it reduces elsewhere, and has another one for the rest.
class Elsewhere final : public Communicator {
 public:
  explicit Elsewhere(Communicator& host) : host_(host) {}

  [[nodiscard]] int rank() const noexcept override { return host_.rank(); }
  [[nodiscard]] int world_size() const noexcept override { return host_.world_size(); }
  [[nodiscard]] Communicator& on_host() noexcept override { return host_; }
  [[nodiscard]] const Communicator& on_host() const noexcept override { return host_; }
  std::unique_ptr<Pending> start_allreduce(WireBuffer buffer) override {
    return host_.start_allreduce(buffer);
  }
  std::unique_ptr<Pending> start_allreduce_min(std::span<std::uint64_t> values) override {
    return host_.start_allreduce_min(values);
  }
  void broadcast(std::span<std::byte> bytes, int root) override { host_.broadcast(bytes, root); }
  std::vector<std::byte> allgather(std::span<const std::byte> bytes) override {
    return host_.allgather(bytes);
  }
  void gather(std::span<const std::byte> bytes, std::span<std::byte> all, int root) override {
    host_.gather(bytes, all, root);
  }
  void allreduce_sum(std::span<double> values) override { host_.allreduce_sum(values); }
  void barrier() override { host_.barrier(); }

 private:
  Communicator& host_;
};

/// Who asks whether a rank waits asks the one on the host, whatever the rank waits for.
TEST(Communicator, AWaitIsSeenWhereRanksLook) {
  InProcessGroup group(1);
  Communicator& host = group.rank(0);
  const Elsewhere elsewhere(host);
  EXPECT_FALSE(host.waits());
  {
    const Communicator::Wait wait(elsewhere);
    EXPECT_TRUE(host.waits());
    const Communicator::Wait another(host);
    EXPECT_TRUE(host.waits());
  }
  EXPECT_FALSE(host.waits());
}

}  // namespace
}  // namespace slicereduce
