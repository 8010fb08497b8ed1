#include "launcher/step_prediction.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ranges>
#include <string>

#include "core/error.hpp"
#include "core/text.hpp"
#include "launcher/reduction.hpp"
#include "launcher/train_options.hpp"

namespace slicereduce {

namespace {

/// DDP counts a bucket's bytes in fp32, before its hook halves them, and starts with one of 1 MiB.
Sending ddp_sending(double bucket_mb) {
  const auto bytes = static_cast<std::int64_t>(bucket_mb * 1e6 / 2);
  constexpr std::int64_t kFirst = 1LL << 19;
  return {.wire = WireType::bf16,
          .capacity = {.bytes = bytes, .first_bytes = std::min(bytes, kFirst), .last_bytes = 2},
          .dense = true,
          .agrees = false};
}

/// What all ranks together, whatever their nodes, are as slow as.
Link slowest_hop(const Cluster& cluster, std::int64_t ranks) {
  return ranks > cluster.ranks_per_node ? cluster.link
                                        : Link{.bytes_per_s = cluster.node_bytes_per_s, .latency_s = 0};
}

double milliseconds(const nlohmann::json& line, const std::string& key, const std::filesystem::path& path) {
  if (!line.contains(key) || !line[key].is_number() || !(line[key].get<double>() >= 0)) {
    throw Error(ErrorKind::input, concat(path.string(), ": its last line has no ", key,
                                         ": expected what `slicereduce bench step --json` prints"));
  }
  return line[key].get<double>();
}

}  // namespace

StepCompute step_compute(const std::function<double(const std::string&)>& part_ms) {
  return {.before_s = 1e-3 * (part_ms("plan_ms") + part_ms("gather_ms") + part_ms("forward_ms")),
          .backward_s = 1e-3 * part_ms("backward_ms"),
          .after_s = 1e-3 * part_ms("optimizer_ms")};
}

StepCompute read_step_compute(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file.is_open()) {
    throw Error(ErrorKind::input, concat(path.string(), " can't be read: check --measured"));
  }
  std::string text;
  for (std::string line; std::getline(file, line);) {
    text = line.empty() ? text : line;
  }
  const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object()) {
    throw Error(ErrorKind::input,
                concat(path.string(),
                       ": its last line is no JSON object: expected what `slicereduce bench "
                       "step --json` prints"));
  }
  return step_compute([&](const std::string& part) {
    const bool may_lack = part == "plan_ms" || part == "gather_ms";  // which the peer does not have
    return line.contains(part) || !may_lack ? milliseconds(line, part, path) : 0;
  });
}

std::vector<BucketLoad> bucket_loads(std::span<const LayerCost> layers, const Sending& sending) {
  std::vector<std::int64_t> numels;
  std::vector<double> bytes;
  std::vector<double> done;  // of backward's arithmetic, once this layer's gradient is there
  double flops = 0;
  for (const LayerCost& layer : layers | std::views::reverse) {
    numels.push_back(sending.dense ? layer.dense_numel : layer.kept_numel);
    bytes.push_back(static_cast<double>(sending.dense ? layer.dense_numel : layer.numel) *
                    static_cast<double>(wire_size(sending.wire)));
    flops += static_cast<double>(sending.dense ? layer.dense_flops : layer.flops);
    done.push_back(flops);
  }
  const BucketLayout layout = lay_out_buckets(numels, sending.wire, sending.capacity);
  std::vector<BucketLoad> loads(layout.buckets.size());
  for (std::size_t slot = 0; slot < layout.slots.size(); ++slot) {
    BucketLoad& load = loads[layout.slots[slot].bucket];
    const bool has_factors =
        bytes[slot] < static_cast<double>(numels[slot]) * static_cast<double>(wire_size(sending.wire));
    load.bytes += bytes[slot];
    load.messages = has_factors ? 2 : load.messages;
    // Gradients of earlier microbatches stay on the rank.
    const double of_last = flops > 0 ? done[slot] / flops : 1;
    load.ready = sending.overlaps ? 1 - (1 - of_last) / static_cast<double>(sending.microbatches) : 1;
  }
  return loads;
}

double predict_step_ms(std::span<const LayerCost> layers, const Sending& sending, const StepCompute& compute,
                       const Cluster& cluster, std::int64_t ranks) {
  const auto buckets = bucket_loads(layers, sending);
  constexpr double kAgreementBytes = 24;
  const double agreement_s =
      sending.agrees ? tree_allreduce_s(kAgreementBytes, ranks, slowest_hop(cluster, ranks)) : 0;
  const auto time = [&](double bytes) { return allreduce_s(bytes, ranks, cluster); };
  return 1e3 * step_s(compute, buckets, time, agreement_s);
}

BestBucket best_bucket(std::span<const LayerCost> layers, Sending sending, const StepCompute& compute,
                       const Cluster& cluster, std::int64_t ranks) {
  BestBucket best{.mb = 0, .step_ms = INFINITY};
  for (const double mb : kBucketSizes) {
    sending.capacity = bucket_capacity(mb);
    const double step_ms = predict_step_ms(layers, sending, compute, cluster, ranks);
    best = step_ms < best.step_ms ? BestBucket{.mb = mb, .step_ms = step_ms} : best;
  }
  return best;
}

std::vector<StepPrediction> predict_steps(std::span<const LayerCost> layers, const Sending& sending,
                                          const StepCompute& ours, const StepCompute& dense,
                                          const Cluster& cluster, std::span<const std::int64_t> world_sizes,
                                          double bucket_mb) {
  std::vector<StepPrediction> predictions;
  for (const std::int64_t ranks : world_sizes) {
    const Cluster one_ring{.link = slowest_hop(cluster, ranks)};
    const BestBucket best =
        bucket_mb > 0
            ? BestBucket{.mb = bucket_mb, .step_ms = predict_step_ms(layers, sending, ours, cluster, ranks)}
            : best_bucket(layers, sending, ours, cluster, ranks);
    double ddp_ms = INFINITY;
    for (const double mb : kBucketSizes) {
      ddp_ms = std::min(ddp_ms, predict_step_ms(layers, ddp_sending(mb), dense, one_ring, ranks));
    }
    predictions.push_back(
        {.world_size = ranks, .ours_ms = best.step_ms, .bucket_mb = best.mb, .ddp_ms = ddp_ms});
  }
  return predictions;
}

BreakEven break_even(std::span<const LayerCost> layers, const Sending& sending, const StepCompute& ours,
                     const StepCompute& dense, Cluster cluster, std::int64_t world_size, double bucket_mb) {
  const auto is_faster = [&](double gbit) {
    cluster.link.bytes_per_s = gbit * 1e9 / 8;
    const StepPrediction step =
        predict_steps(layers, sending, ours, dense, cluster, {&world_size, 1}, bucket_mb).front();
    return step.ours_ms < step.ddp_ms;
  };
  double faster = 1e-3;
  double slower = 1e4;
  if (!is_faster(faster)) {
    return {.kind = BreakEven::Kind::never};
  }
  if (is_faster(slower)) {
    return {.kind = BreakEven::Kind::always};
  }
  constexpr double kCloseEnough = 1.01;
  while (slower / faster > kCloseEnough) {
    const double middle = std::sqrt(slower * faster);
    (is_faster(middle) ? faster : slower) = middle;
  }
  return {.kind = BreakEven::Kind::below, .gbit = faster};
}

}  // namespace slicereduce
