// A communicator of your own under slicereduce's Reducer: four processes of one machine average a gradient.
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "comm/reducer.hpp"
#include "shared_memory_communicator.hpp"

using namespace slicereduce;

namespace {

constexpr int kRanks = 4;
constexpr std::size_t kMostBytes = 64U << 20;

/// Whether the mean over ranks of 0, 2, 4 and 6 is 3, in every place of two gradients.
bool averages(Communicator& communicator) {
  Reducer reducer(communicator, {.wire = WireType::bf16});
  constexpr std::array<std::int64_t, 2> kNumels{1'000'000, 10};
  reducer.begin(kNumels, /*digest=*/42);
  for (std::size_t slot = 0; slot < kNumels.size(); ++slot) {
    reducer.add(slot, at::full({kNumels.at(slot)}, 2.0F * static_cast<float>(communicator.rank())));
  }
  bool right = reducer.wait().has_value();
  for (std::size_t slot = 0; slot < kNumels.size() && right; ++slot) {
    right = at::equal(reducer.mean(slot).values, at::full({kNumels.at(slot)}, 3, at::kBFloat16));
  }
  return right;
}

int run_rank(SharedMemory& memory, int rank) {
  SharedMemoryCommunicator communicator(memory, rank, std::chrono::seconds(30));
  const bool right = averages(communicator);
  std::printf("rank %d of %d: the mean is %s\n", rank, communicator.world_size(), right ? "right" : "WRONG");
  std::fflush(stdout);
  return right ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main() {
  SharedMemory memory(kRanks, kMostBytes);
  for (int rank = 0; rank < kRanks; ++rank) {
    if (fork() == 0) {
      _exit(run_rank(memory, rank));
    }
  }
  bool all_well = true;
  for (int rank = 0; rank < kRanks; ++rank) {
    int status = 0;
    all_well = wait(&status) > 0 && status == 0 && all_well;
  }
  return all_well ? EXIT_SUCCESS : EXIT_FAILURE;
}
