// A network of your own, trained on two ranks with half of its channels by a loop of your own.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "comm/in_process.hpp"
#include "comm/reducer.hpp"
#include "models/architecture.hpp"
#include "models/cost.hpp"
#include "models/network.hpp"
#include "sampling/memory_order.hpp"
#include "sampling/planner.hpp"
#include "sampling/sliced_sgd.hpp"

using namespace slicereduce;

namespace {

constexpr std::int64_t kClasses = 10;
constexpr std::int64_t kImageSize = 32;
constexpr SampleSize kHalf{.ratio = 0.5, .minimal_k = 8, .channel_multiple = 8};

/// VGG with batch norm, for small images: three stages of two convolutions.
Architecture small_vgg() {
  Architecture vgg{.name = "vgg", .parts = {}, .num_classes = kClasses, .image_side = {}};
  std::int64_t channels = vgg.in_channels;
  for (const std::int64_t width : {32, 64, 128}) {
    for (int i = 0; i < 2; ++i) {
      const std::string number = std::to_string(width) + "_" + std::to_string(i);
      const bool is_first = vgg.parts.empty();  // its inputs are the images' colours
      vgg.parts.push_back({Convolution{
          .name = "conv" + number, .in = channels, .out = width, .kernel = 3, .sampled = !is_first}});
      vgg.parts.push_back({Norm{.name = "norm" + number, .channels = width}});
      vgg.parts.push_back({Relu{}});
      channels = width;
    }
    vgg.parts.push_back({MaxPool{}});
  }
  vgg.parts.push_back({MeanPool{}});
  vgg.parts.push_back({Linear{.name = "classifier", .in = channels, .out = kClasses}});
  return vgg;
}

/// What a step of one rank needs. All ranks build the same from the same seed.
class Worker {
 public:
  Worker(Communicator& communicator, const Layout& layout)
      : network_(layout, /*seed=*/1),
        sgd_(network_.parameters(), network_.layout().sites, SgdConfig{}),
        planner_(network_.layout().sites, {.sampler = "topk", .size = kHalf}, /*seed=*/1),
        reducer_(communicator, {.wire = WireType::bf16}) {}

  /// One step on this rank's images; gives its loss.
  double step(std::uint64_t number, const at::Tensor& images, const at::Tensor& labels) {
    const Plan& plan = planner_.plan(number, kHalf.ratio, sgd_.norms());
    CompactNetwork compact;
    network_.gather(plan, Precision::fp32, compact);
    const at::Tensor logits = network_.forward(compact, images, network_.statistics(), {});
    const at::Tensor loss = at::cross_entropy_loss(logits, labels);
    loss.backward();
    sgd_.apply(compact.plan, mean_over_ranks(compact, plan), /*lr=*/0.05);
    return loss.item<double>();
  }
  [[nodiscard]] std::uint64_t weights_digest() const { return network_.weights_digest(); }

 private:
  /// Of the compact network's gradients, by parameter. Slots go from the last layer to the first, as
  /// backward would fill them if each gradient was added as soon as it is there.
  std::vector<Gradient> mean_over_ranks(const CompactNetwork& compact, const Plan& plan) {
    const std::size_t count = compact.leaves.size();
    std::vector<std::int64_t> numels(count);
    std::ranges::transform(compact.leaves, numels.rbegin(), [](const auto& leaf) { return leaf.numel(); });
    reducer_.begin(numels, plan.digest());
    for (std::size_t slot = 0; slot < count; ++slot) {
      reducer_.add(slot, in_memory_order(compact.leaves[count - 1 - slot].grad()));
    }
    if (!reducer_.wait()) {
      std::fputs("ranks have drawn different plans\n", stderr);
      std::exit(EXIT_FAILURE);
    }
    std::vector<Gradient> means(count);
    for (std::size_t slot = 0; slot < count; ++slot) {
      means[count - 1 - slot] = reducer_.mean(slot);
    }
    return means;
  }

  Network network_;
  SlicedSgd sgd_;
  Planner planner_;
  Reducer reducer_;
};

/// Numbers of a rank's training on `steps` steps of one batch.
struct Outcome {
  double first_loss = 0;
  double last_loss = 0;
  std::uint64_t weights = 0;
};

Outcome train(Communicator& communicator, const Layout& layout, const at::Tensor& images,
              const at::Tensor& labels, std::uint64_t steps) {
  Worker worker(communicator, layout);
  Outcome outcome;
  for (std::uint64_t step = 0; step < steps; ++step) {
    outcome.last_loss = worker.step(step, images, labels);
    if (step == 0) {
      outcome.first_loss = outcome.last_loss;
    }
  }
  outcome.weights = worker.weights_digest();
  return outcome;
}

/// Each rank learns its own 32 images, of noise, by heart.
std::vector<Outcome> train_two_ranks(const Layout& layout) {
  InProcessGroup group(2);
  std::vector<Outcome> outcomes(2);
  std::vector<std::jthread> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    const at::Tensor images =
        at::randn({32, 3, kImageSize, kImageSize}).contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor labels = at::randint(kClasses, {32}, at::kLong);
    ranks.emplace_back([&, rank, images, labels] {
      outcomes[rank] = train(group.rank(rank), layout, images, labels, /*steps=*/30);
    });
  }
  ranks.clear();  // waits for them
  return outcomes;
}

}  // namespace

int main() {
  at::set_num_threads(1);
  const Layout layout = make_layout(small_vgg(), Coupling::block, /*sample_classifier=*/false);
  const LayerCost cost = total_cost(layer_costs(layout, plan_of_size(layout, kHalf), kImageSize));
  std::printf("half of the channels: %.3f of the gradient, %.3f of the arithmetic\n",
              static_cast<double>(cost.numel) / static_cast<double>(cost.dense_numel),
              static_cast<double>(cost.flops) / static_cast<double>(cost.dense_flops));

  const std::vector<Outcome> outcomes = train_two_ranks(layout);
  for (const Outcome& outcome : outcomes) {
    std::printf("loss %.2f to %.2f, weights %016llx\n", outcome.first_loss, outcome.last_loss,
                static_cast<unsigned long long>(outcome.weights));
  }
  const bool learned = std::ranges::all_of(
      outcomes, [](const Outcome& outcome) { return outcome.last_loss < outcome.first_loss / 2; });
  return learned && outcomes[0].weights == outcomes[1].weights ? EXIT_SUCCESS : EXIT_FAILURE;
}
