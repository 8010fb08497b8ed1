#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "comm/communicator.hpp"
#include "imagenet/epoch_order.hpp"
#include "imagenet/loader.hpp"
#include "imagenet/normalization.hpp"
#include "models/network.hpp"
#include "sampling/plan.hpp"

namespace slicereduce {

struct Accuracy {
  double top1 = 0;          ///< percent
  double top5 = 0;          ///< percent
  double val_loss = 0;      ///< mean cross entropy
  std::int64_t images = 0;  ///< that were counted: bad ones may be left out
};

/// How a network looks at images.
struct View {
  Precision precision = Precision::fp32;
  Normalization normalization;
};

/// Collective. Whether `stop_requested` of any rank says so; where there is none, it does not.
[[nodiscard]] bool any_wants_to_stop(const std::function<bool()>& stop_requested, Communicator& communicator);

/// Collective. Accuracy of the network that `plan` leaves (the exact one, if it is full) with
/// `statistics`, over all `size` validation images of `loader`'s source: each is counted once, whatever
/// the world size, but for those that the loader leaves out. Nothing where `stop_requested` of any rank said
/// so on the way, which is asked now and then.
[[nodiscard]] std::optional<Accuracy> evaluate(const Network& network, const Plan& plan,
                                               NormStatistics& statistics, const View& view, Loader& loader,
                                               std::int64_t size, std::int64_t batch_size,
                                               Communicator& communicator,
                                               const std::function<bool()>& stop_requested = {});

/// Collective. Batch norm's statistics of the exact network, by forward passes over `batches` training
/// batches of at most `batch_size` images that the ranks share: in sampled training the running ones describe
/// another network. The plain mean over batches, of means and of unbiased variances.
[[nodiscard]] NormStatistics recalibrate(const Network& network, const View& view, Loader& loader,
                                         EpochOrder& order, std::int64_t epoch, std::int64_t batches,
                                         std::int64_t batch_size, Communicator& communicator);

/// Collective. Replaces each rank's statistics by their mean. Moving averages are linear, so this is the
/// moving average of the mean over ranks, whenever it is done.
void average_statistics(NormStatistics& statistics, Communicator& communicator);

}  // namespace slicereduce
