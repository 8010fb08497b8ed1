#include "launcher/run_summary.hpp"

#include "comm/wire.hpp"
#include "core/device.hpp"
#include "core/digest.hpp"
#include "launcher/versions.hpp"
#include "models/cost.hpp"

namespace slicereduce {

namespace {

nlohmann::ordered_json percent(const std::optional<Accuracy>& accuracy, double Accuracy::*value) {
  return accuracy ? nlohmann::ordered_json((*accuracy).*value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

nlohmann::ordered_json run_summary(const TrainOptions& options, int world_size, std::int64_t image_size,
                                   const TrainingState& state, const Outcome& outcome) {
  const LayerCost cost = state.cost(image_size);
  const auto number_bytes = static_cast<std::int64_t>(wire_size(parse_wire_type(options.network.wire)));
  const std::int64_t wire_bytes =
      outcome.wire_bytes_per_step > 0 ? outcome.wire_bytes_per_step : cost.numel * number_bytes;
  const std::int64_t dense_bytes = 4 * cost.dense_numel;
  // Forward once, backward twice, over the global batch.
  const auto per_step = [&](std::int64_t flops) {
    return kForwardPassesOfAStep * static_cast<double>(flops * options.images_per_step(world_size));
  };
  return {{"arch", options.network.arch},
          {"world_size", world_size},
          {"device", c10::DeviceTypeName(state.network.device().type(), /*lower_case=*/true)},
          {"epochs", outcome.epochs},
          {"steps", state.steps_done},
          {"top1", percent(outcome.result, &Accuracy::top1)},
          {"top5", percent(outcome.result, &Accuracy::top5)},
          {"top1_sampled", percent(outcome.sampled, &Accuracy::top1)},
          {"top1_dense", percent(outcome.dense, &Accuracy::top1)},
          {"images_per_s", outcome.train_s > 0 ? static_cast<double>(outcome.images) / outcome.train_s : 0},
          {"wire_bytes_per_step", wire_bytes},
          {"dense_bytes_per_step", dense_bytes},
          {"bytes_saved_fraction", 1 - static_cast<double>(wire_bytes) / static_cast<double>(dense_bytes)},
          {"flops_per_step", per_step(cost.flops)},
          {"dense_flops_per_step", per_step(cost.dense_flops)},
          {"image_size", image_size},
          {"in_channels", state.network.layout().architecture.in_channels},
          {"num_classes", state.network.layout().architecture.num_classes},
          {"weights_digest", to_hex(state.network.weights_digest())},
          {"bad_images", outcome.bad_images},
          {"wall_s", outcome.wall_s},
          {"train_s", outcome.train_s},
          {"peak_memory_bytes", peak_memory_bytes()},
          {"peak_device_memory_bytes", peak_device_memory_bytes(state.network.device())},
          {"run_dir", options.run_dir},
          {"versions", versions()}};
}

}  // namespace slicereduce
