#include "launcher/evaluation.hpp"

#include <ATen/ops/cross_entropy_loss.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/error.hpp"

namespace slicereduce {

Accuracy evaluate(const Network& network, const Plan& plan, NormStatistics& statistics, const View& view,
                  Loader& loader, std::int64_t size, std::int64_t batch_size, Communicator& communicator) {
  const c10::NoGradGuard no_grad;
  CompactNetwork compact;
  network.gather(plan, view.precision, compact);
  std::array<double, 4> sums{};  // images, right, right among the first five, loss
  auto& [images, right, among_five, loss] = sums;
  loader.start_evaluation(validation_indices(size, communicator.rank(), communicator.world_size()),
                          batch_size);
  while (const auto batch = loader.next()) {
    const at::Tensor logits = network.forward(compact, normalize(batch->images, view.normalization),
                                              statistics, {.batch_statistics = false});
    const std::int64_t choices = std::min<std::int64_t>(5, logits.size(1));
    const at::Tensor hits = std::get<1>(logits.topk(choices, 1)).eq(batch->labels.unsqueeze(1));
    images += static_cast<double>(batch->labels.numel());
    right += hits.select(1, 0).sum().item<double>();
    among_five += hits.sum().item<double>();
    loss += at::cross_entropy_loss(logits, batch->labels, {}, at::Reduction::Sum).item<double>();
  }
  communicator.allreduce_sum(sums);
  require(static_cast<std::int64_t>(images) == size, "an evaluation missed images or counted some twice");
  return {.top1 = 100 * right / images,
          .top5 = 100 * among_five / images,
          .val_loss = loss / images,
          .images = size};
}

NormStatistics recalibrate(const Network& network, const View& view, Loader& loader, EpochOrder& order,
                           std::int64_t epoch, std::int64_t batches, Communicator& communicator) {
  const c10::NoGradGuard no_grad;
  CompactNetwork exact;
  network.gather(Plan::full(network.layout().sites), view.precision, exact);
  NormStatistics statistics = NormStatistics::initial(network.layout());
  const std::int64_t world_size = communicator.world_size();
  const std::int64_t share = std::min(order.steps_per_epoch(), (batches + world_size - 1) / world_size);
  loader.start_epoch(order, communicator.rank(), epoch);
  for (std::int64_t i = 0; i < share; ++i) {
    const auto batch = loader.next();
    require(batch.has_value(), "an epoch has fewer batches than it said");
    // 1 / (i + 1) makes the moving average a plain one.
    (void)network.forward(exact, normalize(batch->images, view.normalization), statistics,
                          {.batch_statistics = true, .momentum = 1.0 / static_cast<double>(i + 1)});
  }
  average_statistics(statistics, communicator);
  return statistics;
}

void average_statistics(NormStatistics& statistics, Communicator& communicator) {
  if (communicator.world_size() == 1) {
    return;
  }
  std::vector<double> values;
  const auto visit = [&](const auto& each) {
    for (auto* tensors : {&statistics.mean, &statistics.variance}) {
      for (auto& tensor : *tensors) {
        each(std::span<float>(tensor.template mutable_data_ptr<float>(),
                              static_cast<std::size_t>(tensor.numel())));
      }
    }
  };
  visit([&](std::span<float> numbers) { values.insert(values.end(), numbers.begin(), numbers.end()); });
  communicator.allreduce_sum(values);
  std::size_t at = 0;
  visit([&](std::span<float> numbers) {
    for (float& number : numbers) {
      number = static_cast<float>(values[at++] / communicator.world_size());
    }
  });
}

}  // namespace slicereduce
