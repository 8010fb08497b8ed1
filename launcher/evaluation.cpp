#include "launcher/evaluation.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/error.hpp"
#include "launcher/parts.hpp"

namespace slicereduce {

bool any_wants_to_stop(const std::function<bool()>& stop_requested, Communicator& communicator) {
  double wishes = stop_requested && stop_requested() ? 1 : 0;
  communicator.allreduce_sum({&wishes, 1});
  return wishes > 0;
}

std::optional<Accuracy> evaluate(const Network& network, const Plan& plan, NormStatistics& statistics,
                                 const View& view, Loader& loader, std::int64_t size, std::int64_t batch_size,
                                 Communicator& communicator, const std::function<bool()>& stop_requested) {
  const c10::NoGradGuard no_grad;
  CompactNetwork compact;
  network.gather(plan, view.precision, compact);
  std::array<double, 5> sums{};  // images, those of them left out, right, right among the first five, loss
  auto& [images, left_out, right, among_five, loss] = sums;
  loader.start_evaluation(validation_indices(size, communicator.rank(), communicator.world_size()),
                          batch_size);
  // What every rank has. They meet now and then: else a slower one would be late by all of the pass at its
  // end.
  constexpr std::int64_t kBatchesBetweenMeetings = 4;
  const std::int64_t common_batches = size / communicator.world_size() / batch_size;
  std::int64_t batches = 0;
  while (const auto batch = loader.next()) {
    const at::Tensor pixels = batch->images.to(network.device(), /*non_blocking=*/true);
    const at::Tensor labels = batch->labels.to(network.device(), /*non_blocking=*/true);
    const at::Tensor logits =
        network.forward(compact, normalize(pixels, view.normalization, compact.leaves.front().scalar_type()),
                        statistics, {.batch_statistics = false});
    const std::int64_t choices = std::min<std::int64_t>(5, logits.size(1));
    const at::Tensor hits = std::get<1>(logits.topk(choices, 1)).eq(labels.unsqueeze(1));
    images += static_cast<double>(labels.numel());
    left_out += batch->labels.eq(kLeftOut).sum().item<double>();
    right += hits.select(1, 0).sum().item<double>();
    among_five += hits.sum().item<double>();
    loss += at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum, kLeftOut).item<double>();
    const bool meets = ++batches % kBatchesBetweenMeetings == 0 && batches <= common_batches;
    if (meets && any_wants_to_stop(stop_requested, communicator)) {
      return std::nullopt;
    }
  }
  communicator.allreduce_sum(sums);
  require(static_cast<std::int64_t>(images) == size, "an evaluation missed images or counted some twice");
  const double counted = images - left_out;
  if (counted == 0) {
    throw Error(ErrorKind::input, "no validation picture can be decoded: check --data");
  }
  return Accuracy{.top1 = 100 * right / counted,
                  .top5 = 100 * among_five / counted,
                  .val_loss = loss / counted,
                  .images = static_cast<std::int64_t>(counted)};
}

NormStatistics recalibrate(const Network& network, const View& view, Loader& loader, EpochOrder& order,
                           std::int64_t epoch, std::int64_t batches, std::int64_t batch_size,
                           Communicator& communicator) {
  const c10::NoGradGuard no_grad;
  CompactNetwork exact;
  network.gather(Plan::full(network.layout().sites), view.precision, exact);
  NormStatistics statistics = NormStatistics::initial(network.layout(), network.device());
  const std::int64_t world_size = communicator.world_size();
  const std::int64_t share = (batches + world_size - 1) / world_size;
  loader.start_epoch(order, communicator.rank(), epoch);
  std::int64_t done = 0;
  for (auto batch = loader.next(); batch && done < share; batch = loader.next()) {
    for (const auto& [first, size] : even_parts(batch->labels.numel(), batch_size)) {
      if (done == share) {
        break;
      }
      ++done;
      const at::Tensor pixels = batch->images.narrow(0, first, size).to(network.device());
      // 1 / n makes the moving average a plain one.
      (void)network.forward(exact, normalize(pixels, view.normalization, exact.leaves.front().scalar_type()),
                            statistics,
                            {.batch_statistics = true, .momentum = 1.0 / static_cast<double>(done)});
    }
  }
  average_statistics(statistics, communicator);
  return statistics;
}

void average_statistics(NormStatistics& statistics, Communicator& communicator) {
  if (communicator.world_size() == 1 || statistics.mean.empty()) {
    return;
  }
  std::vector<at::Tensor> tensors = statistics.mean;
  tensors.insert(tensors.end(), statistics.variance.begin(), statistics.variance.end());
  const at::Tensor sums = at::cat(tensors).to(at::kCPU, at::kDouble);
  communicator.allreduce_sum(
      std::span(sums.mutable_data_ptr<double>(), static_cast<std::size_t>(sums.numel())));
  const at::Tensor means = sums / communicator.world_size();
  std::int64_t next = 0;
  for (const at::Tensor& tensor : tensors) {
    tensor.copy_(means.narrow(0, next, tensor.numel()));
    next += tensor.numel();
  }
}

}  // namespace slicereduce
