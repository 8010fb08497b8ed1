#include "launcher/evaluation.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <atomic>

#include "tests/support/in_process_ranks.hpp"
#include "tests/support/random_source.hpp"
#include "tests/support/tiny_network.hpp"

namespace slicereduce {
namespace {

using testing::layout_of;
using testing::RandomSource;
using testing::run_ranks;

constexpr std::int64_t kImages = 23;  // no world size here divides it

TransformConfig as_it_is() {
  TransformConfig transform;
  transform.image_size = RandomSource::kSide;
  transform.augment = Augment::none;
  transform.eval_view = EvalView::whole;
  return transform;
}

Accuracy accuracy_on(int world_size, std::int64_t batch_size) {
  const RandomSource source(kImages);
  Accuracy accuracy;
  run_ranks(world_size, [&](Communicator& communicator) {
    Network network(layout_of("resnet20"), 3);
    Loader loader(source, as_it_is(), {.threads = 0});
    const auto mine =
        evaluate(network, Plan::full(network.layout().sites), network.statistics(),
                 {.normalization = cifar10_normalization()}, loader, kImages, batch_size, communicator);
    if (communicator.rank() == 0) {
      accuracy = mine.value();
    }
  });
  return accuracy;
}

/// How many ranks' evaluations came to nothing where one of three wants to stop once it was asked `patience`
/// times.
int evaluations_stopped(int patience) {
  constexpr std::int64_t kMany = 100;
  std::atomic<int> stopped = 0;
  const RandomSource source(kMany);
  run_ranks(3, [&](Communicator& communicator) {
    Network network(layout_of("resnet20"), 3);
    Loader loader(source, as_it_is(), {.threads = 0});
    int asked = 0;
    const auto wants_stop = [&] { return communicator.rank() == 1 && ++asked > patience; };
    const auto accuracy = evaluate(network, Plan::full(network.layout().sites), network.statistics(),
                                   {.normalization = cifar10_normalization()}, loader, kMany,
                                   /*batch_size=*/1, communicator, wants_stop);
    stopped += accuracy ? 0 : 1;
    communicator.barrier();  // they are still in step
  });
  return stopped;
}

TEST(Evaluate, StopsOnAllRanksWhereOneWantsTo) {
  EXPECT_EQ(evaluations_stopped(0), 3);
  EXPECT_EQ(evaluations_stopped(1000), 0);
}

TEST(Evaluate, CountsEveryImageOnceOnAnyNumberOfRanks) {
  const Accuracy alone = accuracy_on(1, 23);
  EXPECT_EQ(alone.images, kImages);
  for (const int world_size : {2, 3, 4}) {
    const Accuracy shared = accuracy_on(world_size, 4);
    EXPECT_EQ(shared.images, kImages);
    EXPECT_NEAR(shared.top1, alone.top1, 1e-9);
    EXPECT_NEAR(shared.top5, alone.top5, 1e-9);
    EXPECT_NEAR(shared.val_loss, alone.val_loss, 1e-4);
  }
}

TEST(AverageStatistics, OfANetworkWithoutBatchNormAreNone) {
  run_ranks(2, [](Communicator& communicator) {
    NormStatistics none;
    average_statistics(none, communicator);
    EXPECT_TRUE(none.mean.empty());
  });
}

TEST(Evaluate, TopFiveHoldsTopOne) {
  const Accuracy accuracy = accuracy_on(1, 8);
  EXPECT_GE(accuracy.top5, accuracy.top1);
  EXPECT_GT(accuracy.top5, 0);
}

TEST(AverageStatistics, IsTheMeanOverRanks) {
  run_ranks(3, [](Communicator& communicator) {
    NormStatistics statistics = NormStatistics::initial(layout_of("resnet20"));
    for (std::size_t i = 0; i < statistics.mean.size(); ++i) {
      statistics.mean[i].fill_(communicator.rank());
      statistics.variance[i].fill_(10 * communicator.rank());
    }
    average_statistics(statistics, communicator);
    for (std::size_t i = 0; i < statistics.mean.size(); ++i) {
      EXPECT_TRUE(at::equal(statistics.mean[i], at::ones_like(statistics.mean[i])));  // of 0, 1 and 2
      EXPECT_TRUE(at::equal(statistics.variance[i], at::full_like(statistics.variance[i], 10)));
    }
  });
}

/// Averaging before or after the moving average gives the same: it is linear.
TEST(AverageStatistics, CommutesWithTheMovingAverage) {
  run_ranks(2, [](Communicator& communicator) {
    Network network(layout_of("resnet20"), 3);
    CompactNetwork compact;
    network.gather(testing::random_plan(network.layout(), 1), Precision::fp32, compact);
    NormStatistics often = network.statistics().clone();
    NormStatistics once = network.statistics().clone();
    for (std::uint64_t i = 0; i < 3; ++i) {
      at::Generator generator =
          at::detail::createCPUGenerator(10 * i + static_cast<std::uint64_t>(communicator.rank()));
      const at::Tensor images =
          at::randn({4, 3, 16, 16}, generator).contiguous(at::MemoryFormat::ChannelsLast);
      (void)network.forward(compact, images, often, {});
      (void)network.forward(compact, images, once, {});
      average_statistics(often, communicator);
    }
    average_statistics(once, communicator);
    for (std::size_t i = 0; i < once.mean.size(); ++i) {
      EXPECT_TRUE(at::allclose(often.mean[i], once.mean[i], 1e-5, 1e-6));
      EXPECT_TRUE(at::allclose(often.variance[i], once.variance[i], 1e-5, 1e-6));
    }
  });
}

TEST(Recalibrate, IsTheMeanOfTheExactNetworksBatchStatistics) {
  const RandomSource source(24);
  run_ranks(1, [&](Communicator& communicator) {
    Network network(layout_of("resnet20"), 3);
    const View view{.normalization = cifar10_normalization()};
    Loader loader(source, as_it_is(), {.threads = 0});
    EpochOrder order(24, 8, 1, 5);
    const NormStatistics statistics = recalibrate(network, view, loader, order, 0, 3, 1000, communicator);
    // The stem's statistics can be told from its own convolution.
    at::Tensor sum = at::zeros({16});
    loader.start_epoch(order, 0, 0);
    for (int i = 0; i < 3; ++i) {
      const at::Tensor images = normalize(loader.next()->images, view.normalization);
      sum += at::conv2d(images, network.parameters()[0].value, {}, 1, 1).mean({0, 2, 3}).detach();
    }
    EXPECT_TRUE(at::allclose(statistics.mean[0], sum / 3, 1e-4, 1e-5));
    EXPECT_TRUE(at::equal(network.statistics().mean[0], at::zeros({16})));  // the running ones are untouched
    // A loader's batch that is larger than what is computed at once is cut.
    EpochOrder accumulating(24, 24, 1, 5);
    const NormStatistics cut = recalibrate(network, view, loader, accumulating, 0, 3, 8, communicator);
    EXPECT_TRUE(at::allclose(cut.mean[0], statistics.mean[0], 1e-4, 1e-5));
  });
}

}  // namespace
}  // namespace slicereduce
